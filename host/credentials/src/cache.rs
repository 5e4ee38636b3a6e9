//! Keeps what is costly to have and holds for a while: access tokens, temporary keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// So long before its end a value is made anew: enough for the longest request and for clocks that differ.
const MARGIN: Duration = Duration::from_secs(300);

/// One value. Whoever comes while it is being made waits for it, so that there is one request at a time.
#[derive(Debug)]
pub(crate) struct Cached<T> {
    slot: Mutex<Slot<T>>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self { slot: Mutex::new(Slot { kept: None, cause: Cause::Need }) }
    }
}

#[derive(Debug)]
struct Slot<T> {
    kept: Option<Kept<T>>,
    /// Why the next value is made.
    cause: Cause,
}

#[derive(Debug)]
struct Kept<T> {
    value: T,
    mark: Mark,
    refresh: SystemTime,
    until: SystemTime,
}

/// Why a value is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// There was none, or it did not hold much longer.
    Need,
    /// A destination did not accept the one before.
    Refusal,
}

/// Tells one value from those before and after it, and knows what destinations said of it.
#[derive(Debug, Clone)]
pub(crate) struct Mark(Arc<Fate>);

#[derive(Debug)]
struct Fate {
    cause: Cause,
    accepted: AtomicBool,
}

impl Mark {
    fn new(cause: Cause) -> Self {
        Self(Arc::new(Fate { cause, accepted: AtomicBool::new(false) }))
    }

    /// A destination accepted the value.
    pub fn accepted(&self) {
        self.0.accepted.store(true, Ordering::Relaxed);
    }

    /// Whether another value would be worth a try where this one is refused. One that took the place of a refused one and
    /// was never accepted either is not what is wrong: without this, each refusal would cost a token.
    fn is_worth_replacing(&self) -> bool {
        self.0.cause == Cause::Need || self.0.accepted.load(Ordering::Relaxed)
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Whether there will be another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaced {
    /// The next one who asks gets another one.
    Yes,
    /// It stays: another one would be refused too.
    No,
}

impl<T: Clone> Cached<T> {
    /// The value, made by `make` if there is none or if it will not hold much longer. `make` says until when it holds.
    ///
    /// # Errors
    /// What `make` says, unless the old value still holds: it is used up first.
    pub async fn get<E>(
        &self,
        now: SystemTime,
        make: impl AsyncFnOnce() -> Result<(T, SystemTime), E>,
    ) -> Result<(T, Mark), E> {
        let mut slot = self.slot.lock().await;
        let at_hand = |kept: &Kept<T>| (kept.value.clone(), kept.mark.clone());
        if let Some(kept) = slot.kept.as_ref().filter(|kept| now < kept.refresh) {
            return Ok(at_hand(kept));
        }
        match make().await {
            Ok((value, until)) => {
                let left = until.duration_since(now).unwrap_or_default();
                // Of what holds for a short time only, a quarter is kept in reserve.
                let refresh = until.checked_sub(MARGIN.min(left / 4)).unwrap_or(now);
                let mark = Mark::new(std::mem::replace(&mut slot.cause, Cause::Need));
                slot.kept = Some(Kept { value: value.clone(), mark: mark.clone(), refresh, until });
                Ok((value, mark))
            }
            Err(error) => match slot.kept.as_ref().filter(|kept| now < kept.until) {
                Some(kept) => {
                    tracing::warn!("a token cannot be had anew; the one at hand is used as long as it holds");
                    Ok(at_hand(kept))
                }
                None => Err(error),
            },
        }
    }

    /// A destination did not accept the value with this mark. It is forgotten, unless another one is there already or
    /// would not be accepted either.
    pub async fn refused(&self, mark: &Mark) -> Replaced {
        let mut slot = self.slot.lock().await;
        // Of many requests that are refused together, the first one has it replaced.
        if slot.kept.as_ref().is_some_and(|kept| kept.mark.is(mark)) {
            if !mark.is_worth_replacing() {
                return Replaced::No;
            }
            *slot = Slot { kept: None, cause: Cause::Refusal };
        }
        Replaced::Yes
    }

    /// Forgets the value.
    pub async fn forget(&self) {
        self.slot.lock().await.kept = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    async fn get(cached: &Cached<u64>, now: u64, made: Result<(u64, u64), &'static str>) -> Result<u64, &'static str> {
        let made = cached.get(at(now), async || made.map(|(value, until)| (value, at(until)))).await;
        made.map(|(value, _)| value)
    }

    async fn marked(cached: &Cached<u64>, value: u64) -> (u64, Mark) {
        cached.get(at(0), async || Ok::<_, ()>((value, at(3600)))).await.unwrap()
    }

    #[tokio::test]
    async fn a_refused_value_is_replaced_once_and_not_for_ever() {
        let cached = Cached::default();
        let (one, first) = marked(&cached, 1).await;
        assert_eq!((one, cached.refused(&first).await), (1, Replaced::Yes));
        let (two, second) = marked(&cached, 2).await;
        // Another request that was sent with the first one: the second is there already.
        assert_eq!((two, cached.refused(&first).await), (2, Replaced::Yes));
        assert_eq!(marked(&cached, 3).await.0, 2);
        // The second was never accepted: it is not the token that is wrong.
        assert_eq!(cached.refused(&second).await, Replaced::No);
        assert_eq!(marked(&cached, 3).await.0, 2);
        // Once it was, a refusal means again that it does not hold any more.
        second.accepted();
        assert_eq!(cached.refused(&second).await, Replaced::Yes);
        assert_eq!(marked(&cached, 3).await.0, 3);
    }

    #[tokio::test]
    async fn a_value_is_kept_until_five_minutes_before_its_end() {
        let cached = Cached::default();
        assert_eq!(get(&cached, 0, Ok((1, 3600))).await, Ok(1));
        assert_eq!(get(&cached, 3299, Ok((2, 9999))).await, Ok(1));
        assert_eq!(get(&cached, 3300, Ok((2, 9999))).await, Ok(2));
        cached.forget().await;
        assert_eq!(get(&cached, 3301, Ok((3, 9999))).await, Ok(3));
    }

    #[tokio::test]
    async fn a_short_life_is_used_for_three_quarters() {
        let cached = Cached::default();
        assert_eq!(get(&cached, 0, Ok((1, 40))).await, Ok(1));
        assert_eq!(get(&cached, 29, Ok((2, 100))).await, Ok(1));
        assert_eq!(get(&cached, 30, Ok((2, 100))).await, Ok(2));
        let over = Cached::default();
        assert_eq!(get(&over, 10, Ok((1, 5))).await, Ok(1));
        assert_eq!(get(&over, 10, Ok((2, 5))).await, Ok(2));
    }

    #[tokio::test]
    async fn a_failure_is_no_reason_to_drop_what_still_holds() {
        let cached = Cached::default();
        assert_eq!(get(&cached, 0, Err("down")).await, Err("down"));
        assert_eq!(get(&cached, 0, Ok((1, 3600))).await, Ok(1));
        assert_eq!(get(&cached, 3400, Err("down")).await, Ok(1));
        assert_eq!(get(&cached, 3600, Err("down")).await, Err("down"));
    }

    #[tokio::test]
    async fn there_is_one_request_at_a_time() {
        let (cached, made) = (Arc::new(Cached::default()), Arc::new(AtomicU32::new(0)));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (cached, made) = (cached.clone(), made.clone());
                tokio::spawn(async move {
                    let make = async || {
                        made.fetch_add(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        Ok::<_, ()>((7, at(3600)))
                    };
                    cached.get(at(0), make).await
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap().0, 7);
        }
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }
}
