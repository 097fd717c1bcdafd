//! Whose turn it is to be billed. An account has one open statement, over the packets of one wallet, and that is left in peace
//! for a while. Meanwhile the account's other wallets wait here, in the order in which they came, and none of them asks the
//! store: a thousand that asked now and then would keep it busy with nothing.
//!
//! What is known here says only when to ask; the store's transaction judges, and tells who comes too soon how long to wait. So
//! nothing of this outlives the process. Nobody relies on being called, either: who waits comes again by itself.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use alloy::primitives::Address;
use tokio::time::Instant;

use crate::store::statements::PATIENCE_S;

/// How long a statement is left in peace, for all that this process knows.
const PATIENCE: Duration = Duration::from_secs(PATIENCE_S);
/// The first of those that wait has this long to come when it is its turn; then it is anybody's.
const CALLED_FOR: Duration = Duration::from_secs(1);
/// An account that nobody has asked about for so long has no one waiting: who waits comes again before that.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(4 * PATIENCE_S);
/// Accounts known before the forgotten ones are looked for; then twice those that are left.
const SWEEP_AT_MIN: usize = 1_024;
/// Wallets that wait for one account: as many as there are streams. Beyond it some have left, and who has not comes again.
const WAITING_MAX: usize = crate::node::STREAMS_MAX;

/// When to ask the store for a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    At(Instant),
}

#[derive(Debug)]
struct Account {
    /// Who is being billed, and until when it is left in peace.
    holder: Option<(Address, Instant)>,
    /// Until when the first that waits is expected.
    called_until: Option<Instant>,
    waiting: VecDeque<Address>,
    asked_at: Instant,
}

impl Account {
    const fn new(now: Instant) -> Self {
        Self { holder: None, called_until: None, waiting: VecDeque::new(), asked_at: now }
    }

    fn wait(&mut self, wallet: Address) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.clear();
        }
        if !self.waiting.contains(&wallet) {
            self.waiting.push_back(wallet);
        }
    }

    fn ask(&mut self, wallet: Address, now: Instant) -> Turn {
        self.asked_at = now;
        if let Some((_, until)) = self.holder.filter(|(_, until)| *until <= now) {
            self.holder = None;
            self.called_until = Some(until + CALLED_FOR);
        }
        if let Some((_, until)) = self.holder.filter(|(holder, _)| *holder != wallet) {
            self.wait(wallet);
            let is_next = self.waiting.front() == Some(&wallet);
            return Turn::At(if is_next { until } else { until + CALLED_FOR });
        }
        if self.holder.is_none() && self.waiting.front().is_some_and(|first| *first != wallet) {
            if let Some(expected) = self.called_until.filter(|expected| *expected > now) {
                self.wait(wallet);
                return Turn::At(expected);
            }
            // It was called and did not come.
            self.waiting.pop_front();
        }
        self.waiting.retain(|waiting| *waiting != wallet);
        self.holder = Some((wallet, now + PATIENCE));
        Turn::Now
    }
}

/// By payer.
#[derive(Debug)]
pub(super) struct Turns {
    accounts: HashMap<Address, Account>,
    sweep_at: usize,
}

impl Default for Turns {
    fn default() -> Self {
        Self { accounts: HashMap::new(), sweep_at: SWEEP_AT_MIN }
    }
}

impl Turns {
    fn account(&mut self, payer: Address, now: Instant) -> &mut Account {
        if self.accounts.len() >= self.sweep_at {
            self.accounts.retain(|_, account| now.saturating_duration_since(account.asked_at) < FORGOTTEN_AFTER);
            self.sweep_at = (2 * self.accounts.len()).max(SWEEP_AT_MIN);
        }
        self.accounts.entry(payer).or_insert_with(|| Account::new(now))
    }

    /// Whether this wallet is to be billed now; if so, the others of the account wait.
    pub(super) fn ask(&mut self, payer: Address, wallet: Address, now: Instant) -> Turn {
        self.account(payer, now).ask(wallet, now)
    }

    /// The wallet was given a statement.
    pub(super) fn billed(&mut self, payer: Address, wallet: Address, now: Instant) {
        self.account(payer, now).holder = Some((wallet, now + PATIENCE));
    }

    /// The store knows of a statement of another wallet, and leaves it in peace for so long.
    pub(super) fn held_up(&mut self, payer: Address, wallet: Address, by: Address, until: Instant, now: Instant) {
        let account = self.account(payer, now);
        account.holder = Some((by, until));
        account.waiting.retain(|waiting| *waiting != wallet);
        account.waiting.push_front(wallet);
    }

    /// The wallet's statement is acknowledged, or there was none to give.
    pub(super) fn done(&mut self, payer: Address, wallet: Address) {
        if let Some(account) = self.accounts.get_mut(&payer)
            && account.holder.is_some_and(|(holder, _)| holder == wallet)
        {
            account.holder = None;
            if account.waiting.is_empty() {
                self.accounts.remove(&payer);
            }
        }
    }

    /// Who is next, if it is anybody's turn: to be called. Whoever is passed over by `is_there` has left.
    pub(super) fn call(&mut self, payer: Address, now: Instant, is_there: impl Fn(Address) -> bool) {
        let Some(account) = self.accounts.get_mut(&payer).filter(|account| account.holder.is_none()) else { return };
        while let Some(first) = account.waiting.front() {
            if is_there(*first) {
                account.called_until = Some(now + CALLED_FOR);
                return;
            }
            account.waiting.pop_front();
        }
        self.accounts.remove(&payer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYER: Address = Address::repeat_byte(9);

    const fn wallet(number: u8) -> Address {
        Address::repeat_byte(number)
    }

    /// Who is called.
    fn called(turns: &mut Turns, now: Instant, present: &[u8]) -> Option<Address> {
        let called = std::cell::Cell::new(None);
        turns.call(PAYER, now, |wallet| {
            let is_there = present.iter().any(|number| Address::repeat_byte(*number) == wallet);
            called.set(is_there.then_some(wallet));
            is_there
        });
        called.get()
    }

    /// Three that want to be billed, the first of which is.
    fn three(now: Instant) -> Turns {
        let mut turns = Turns::default();
        assert_eq!(turns.ask(PAYER, wallet(1), now), Turn::Now);
        assert_eq!(turns.ask(PAYER, wallet(2), now), Turn::At(now + PATIENCE));
        assert_eq!(turns.ask(PAYER, wallet(3), now), Turn::At(now + PATIENCE + CALLED_FOR));
        turns
    }

    #[test]
    fn wallets_of_one_account_are_billed_in_the_order_in_which_they_came() {
        let now = Instant::now();
        let mut turns = three(now);
        assert_eq!(turns.ask(Address::ZERO, wallet(4), now), Turn::Now, "another account is its own");
        for (paid, next) in [(1, 2), (2, 3), (3, 1), (1, 2)] {
            turns.done(PAYER, wallet(paid));
            assert_eq!(called(&mut turns, now, &[1, 2, 3]), Some(wallet(next)));
            // Everybody else wants to be billed too, and the one that was only now comes last.
            for other in [1, 2, 3] {
                if other != next {
                    assert_eq!(turns.ask(PAYER, wallet(other), now), Turn::At(now + CALLED_FOR));
                }
            }
            assert_eq!(turns.ask(PAYER, wallet(next), now), Turn::Now);
        }
    }

    #[test]
    fn who_does_not_pay_is_left_in_peace_and_then_it_is_the_nexts_turn() {
        let now = Instant::now();
        let mut turns = three(now);
        turns.billed(PAYER, wallet(1), now);
        assert_eq!(called(&mut turns, now, &[1, 2, 3]), None);
        let just_before = now + PATIENCE - Duration::from_millis(1);
        assert_eq!(turns.ask(PAYER, wallet(2), just_before), Turn::At(now + PATIENCE));
        assert_eq!(turns.ask(PAYER, wallet(3), now + PATIENCE), Turn::At(now + PATIENCE + CALLED_FOR));
        assert_eq!(turns.ask(PAYER, wallet(2), now + PATIENCE), Turn::Now);
        let next = now + 2 * PATIENCE;
        assert_eq!(turns.ask(PAYER, wallet(3), now + PATIENCE), Turn::At(next), "it is the first now");
    }

    #[test]
    fn a_call_that_nobody_hears_hangs_nobodys_bill() {
        let now = Instant::now();
        let mut turns = three(now);
        turns.done(PAYER, wallet(1));
        assert_eq!(called(&mut turns, now, &[2, 3]), Some(wallet(2)));
        // The second does not come. The third comes when it said it would.
        let later = now + PATIENCE + CALLED_FOR;
        assert_eq!(turns.ask(PAYER, wallet(3), later), Turn::Now);
        // And so without any call at all.
        let mut turns = three(now);
        assert_eq!(turns.ask(PAYER, wallet(3), later), Turn::Now);
        assert_eq!(turns.ask(PAYER, wallet(2), later), Turn::At(later + PATIENCE));
    }

    #[test]
    fn who_left_is_passed_over() {
        let now = Instant::now();
        let mut turns = three(now);
        turns.done(PAYER, wallet(1));
        assert_eq!(called(&mut turns, now, &[3]), Some(wallet(3)));
        assert_eq!(turns.ask(PAYER, wallet(3), now), Turn::Now);
        turns.done(PAYER, wallet(3));
        assert_eq!(called(&mut turns, now, &[]), None);
        assert!(turns.accounts.is_empty(), "nothing is kept of who does not wait");
    }

    #[test]
    fn a_wallet_does_not_wait_for_its_own_statement() {
        let now = Instant::now();
        let mut turns = three(now);
        assert_eq!(turns.ask(PAYER, wallet(1), now), Turn::Now);
    }

    #[test]
    fn what_only_the_store_knows_is_learnt_from_it_and_costs_nobody_its_place() {
        let now = Instant::now();
        let mut turns = Turns::default();
        assert_eq!(turns.ask(PAYER, wallet(1), now), Turn::Now, "as after a restart");
        turns.ask(PAYER, wallet(2), now);
        let until = now + Duration::from_secs(3);
        turns.held_up(PAYER, wallet(1), wallet(7), until, now);
        assert_eq!(turns.ask(PAYER, wallet(2), now), Turn::At(until + CALLED_FOR));
        turns.done(PAYER, wallet(2));
        assert_eq!(turns.ask(PAYER, wallet(1), now), Turn::At(until), "only its holder ends it");
        turns.done(PAYER, wallet(7));
        assert_eq!(called(&mut turns, now, &[1, 2]), Some(wallet(1)));
    }

    #[test]
    fn accounts_that_nobody_asks_about_are_forgotten() {
        let now = Instant::now();
        let mut turns = Turns::default();
        let payer = |number: usize| Address::from_word(alloy::primitives::U256::from(number).into());
        for number in 0..3 * SWEEP_AT_MIN {
            turns.ask(payer(number), wallet(1), now);
        }
        assert_eq!(turns.accounts.len(), 3 * SWEEP_AT_MIN);
        for number in 0..2 * SWEEP_AT_MIN {
            turns.ask(payer(number), wallet(1), now + FORGOTTEN_AFTER);
        }
        turns.ask(payer(9 * SWEEP_AT_MIN), wallet(1), now + FORGOTTEN_AFTER);
        turns.sweep_at = 0;
        turns.ask(payer(9 * SWEEP_AT_MIN), wallet(1), now + FORGOTTEN_AFTER);
        assert_eq!(turns.accounts.len(), 2 * SWEEP_AT_MIN + 1);
    }
}
