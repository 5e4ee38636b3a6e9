-- Where a run was finished: what is added after that (notes for the audit) continues the chain behind the finish.
ALTER TABLE runs ADD COLUMN finish_seq INTEGER;
UPDATE runs SET finish_seq = head_seq WHERE finished_at IS NOT NULL;
