//! The view without a chain behind it, for `benches/view.rs`: filled, opened and asked as a node does it. Not part of what
//! this crate offers.

use std::{path::Path, sync::Arc, time::Duration};

use alloy::primitives::Address;
use minus_bindings::{Amount, Deployment};

use crate::{
    StartError,
    agent::lane::Lane,
    chain::{reader::Reader, tables::Batch, view::View},
    store::{Nobody, Store, StoreError, chain},
};

/// Rows saved in one transaction.
const ROWS_PER_COMMIT: usize = 10_000;

/// An open view.
#[derive(Debug)]
pub struct OpenView(Arc<View>);

fn store_error(error: StoreError) -> StartError {
    StartError::Store(error.to_string())
}

impl OpenView {
    /// Saves routes (wallet, agent) and lanes (payer, payee) in the store of `data_dir`.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn fill(
        data_dir: &Path,
        routes: Vec<(Address, Address)>,
        lanes: Vec<(Address, Address)>,
    ) -> Result<(), StartError> {
        let (store, _writer) =
            Store::open(data_dir, None, Arc::new(Nobody), Arc::default()).await.map_err(store_error)?;
        let routes = routes
            .chunks(ROWS_PER_COMMIT)
            .map(|chunk| Batch { routes: chunk.iter().copied().collect(), ..Batch::default() });
        let lanes = lanes.chunks(ROWS_PER_COMMIT).map(|chunk| {
            let lane = |(payer, payee): &(Address, Address)| {
                (*payer, *payee, Lane { deposit: Amount::MAX, paid: Amount::ZERO, thawing: Amount::ZERO })
            };
            Batch { lanes: chunk.iter().map(lane).collect(), ..Batch::default() }
        });
        for batch in routes.chain(lanes) {
            let saving = store
                .writer()
                .write_patiently(move |connection| Box::pin(async move { chain::save(connection, &batch).await }));
            saving.await.map_err(store_error)?;
        }
        store.close().await;
        Ok(())
    }

    /// Opens the store of `data_dir` and loads the view.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(data_dir: &Path) -> Result<Self, StartError> {
        let (store, _writer) =
            Store::open(data_dir, None, Arc::new(Nobody), Arc::default()).await.map_err(store_error)?;
        let deployment = Deployment {
            chain_id: 0,
            reserve: Address::ZERO,
            token: Address::ZERO,
            escrow: Address::ZERO,
            routing_table: Address::ZERO,
            block: 0,
        };
        let reader = Reader::new(&[], deployment, 0).map_err(|error| StartError::Client(error.to_string()))?;
        let view = View::open(store, reader, Duration::from_secs(1)).await.map_err(store_error)?;
        Ok(Self(Arc::new(view)))
    }

    /// The agent of a wallet.
    #[must_use]
    pub fn agent_of(&self, wallet: Address) -> Option<Address> {
        self.0.agent_of(wallet)
    }

    /// What a lane pays at most.
    #[must_use]
    pub fn lane_limit(&self, payer: Address, payee: Address) -> Option<Amount> {
        Some(self.0.known_lane(payer, payee)?.limit())
    }
}
