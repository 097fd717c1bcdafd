//! Which node a sender gives its packet to: any live one but the recipient's own agent, at random, so that the agent
//! learns nothing of the sender's address on the network; the agent itself when there is no other.

use alloy::primitives::Address;
use rand::seq::SliceRandom;

use crate::chain::NodeRecord;
use crate::client::Client;
use crate::error::Error;

/// Most access nodes a sending tries.
const ACCESS_NODES_MAX: usize = 16;

impl Client {
    /// The nodes to try, in this order. Never empty.
    pub(crate) async fn access_nodes(
        &self,
        agent: &NodeRecord,
        via: Option<Address>,
    ) -> Result<Vec<NodeRecord>, Error> {
        if let Some(via) = via {
            return Ok(vec![if via == agent.address { agent.clone() } else { self.live_node(via).await? }]);
        }
        let mut nodes = self.chain.nodes().await?;
        nodes.retain(|node| node.is_live() && node.address != agent.address);
        nodes.shuffle(&mut rand::rng());
        nodes.truncate(ACCESS_NODES_MAX);
        if nodes.is_empty() {
            nodes.push(agent.clone());
        }
        Ok(nodes)
    }
}
