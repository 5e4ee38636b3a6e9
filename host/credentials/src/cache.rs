//! Keeps what is costly to have and holds for a while: access tokens, temporary keys.

use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// So long before its end a value is made anew: enough for the longest request and for clocks that differ.
const MARGIN: Duration = Duration::from_secs(300);

/// One value. Whoever comes while it is being made waits for it, so that there is one request at a time.
#[derive(Debug)]
pub(crate) struct Cached<T> {
    slot: Mutex<Option<Kept<T>>>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self { slot: Mutex::new(None) }
    }
}

#[derive(Debug)]
struct Kept<T> {
    value: T,
    refresh: SystemTime,
    until: SystemTime,
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
    ) -> Result<T, E> {
        let mut slot = self.slot.lock().await;
        if let Some(kept) = slot.as_ref().filter(|kept| now < kept.refresh) {
            return Ok(kept.value.clone());
        }
        match make().await {
            Ok((value, until)) => {
                let left = until.duration_since(now).unwrap_or_default();
                // Of what holds for a short time only, a quarter is kept in reserve.
                let refresh = until.checked_sub(MARGIN.min(left / 4)).unwrap_or(now);
                *slot = Some(Kept { value: value.clone(), refresh, until });
                Ok(value)
            }
            Err(error) => match slot.as_ref().filter(|kept| now < kept.until) {
                Some(kept) => {
                    tracing::warn!("a token cannot be had anew; the one at hand is used as long as it holds");
                    Ok(kept.value.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Forgets the value.
    pub async fn forget(&self) {
        *self.slot.lock().await = None;
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
        cached.get(at(now), async || made.map(|(value, until)| (value, at(until)))).await
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
            assert_eq!(task.await.unwrap(), Ok(7));
        }
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }
}
