//! The persisted view of the chain. It is read whole, when the node starts, and changed by whole batches.
//!
//! - `save` — a batch, in the transaction that moves the cursor
//! - `load` — everything into memory

mod load;
mod save;

pub(crate) use load::load;
pub(crate) use save::save;
