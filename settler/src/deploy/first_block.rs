//! Finds the first block whose end saw a contract, by asking for code at earlier and earlier blocks. A block that is too
//! late would lose events for ever and a block that is too early only costs time, so whatever an endpoint does not
//! remember counts as unknown, and an answer that rests on something unknown is not given.

use std::future::Future;

/// What an endpoint remembers of the end of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A contract stood.
    Standing,
    /// None did, and the endpoint does remember that block.
    Nothing,
    /// It does not remember.
    Unknown,
}

/// The first block that ended with a contract standing, if the endpoint remembers it and the one before. Asks twice the
/// logarithm of the way back, at most.
///
/// # Errors
/// When a question fails.
pub async fn first_block<E, F>(head: u64, mut ask: impl FnMut(u64) -> F) -> Result<Option<u64>, E>
where
    F: Future<Output = Result<Seen, E>>,
{
    if ask(head).await? != Seen::Standing {
        return Ok(None);
    }
    // Back in doubled steps: a network that was just deployed is found in a few, even at an endpoint that remembers no
    // more than the last blocks. `standing` stood; what is below `lowest` is too early.
    let (mut standing, mut lowest, mut step) = (head, 0, 1);
    while standing > lowest {
        let earlier = standing.saturating_sub(step);
        if ask(earlier).await? != Seen::Standing {
            lowest = earlier + 1;
            break;
        }
        standing = earlier;
        step = step.saturating_mul(2);
    }
    while lowest < standing {
        let middle = lowest + (standing - lowest) / 2;
        if ask(middle).await? == Seen::Standing {
            standing = middle;
        } else {
            lowest = middle + 1;
        }
    }
    match standing.checked_sub(1) {
        None => Ok(Some(0)),
        Some(before) if ask(before).await? == Seen::Nothing => Ok(Some(standing)),
        Some(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Asks a chain where the contract came with block `creation`, and which remembers blocks from `remembered` on.
    async fn search(head: u64, creation: u64, remembered: u64) -> (Option<u64>, usize) {
        let mut questions = 0;
        let found = first_block(head, |block| {
            questions += 1;
            assert!(block <= head, "nobody asks for the future");
            async move {
                Ok::<_, Infallible>(match block {
                    block if block < remembered => Seen::Unknown,
                    block if block < creation => Seen::Nothing,
                    _ => Seen::Standing,
                })
            }
        })
        .await;
        match found {
            Ok(found) => (found, questions),
        }
    }

    #[tokio::test]
    async fn finds_every_block_of_a_chain_that_remembers() {
        for head in 0..40 {
            for creation in 0..=head {
                assert_eq!(search(head, creation, 0).await.0, Some(creation), "{creation} of {head}");
            }
        }
    }

    #[tokio::test]
    async fn gives_no_answer_that_rests_on_something_unknown() {
        for head in 1..40 {
            for creation in 0..=head {
                for remembered in 1..=head {
                    let expected = (remembered < creation).then_some(creation);
                    assert_eq!(search(head, creation, remembered).await.0, expected, "{creation} {remembered} {head}");
                }
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_found_where_nothing_stands() {
        assert_eq!(search(10, 11, 0).await, (None, 1));
    }

    #[tokio::test]
    async fn asks_few_questions() {
        let head = 1 << 40;
        assert!(search(head, head, 0).await.1 <= 3);
        assert!(search(head, head - 1_000, 0).await.1 <= 25);
        for creation in [0, 1, 1 << 20, head / 2, head / 3] {
            assert!(search(head, creation, 0).await.1 <= 2 * 40 + 3);
        }
    }
}
