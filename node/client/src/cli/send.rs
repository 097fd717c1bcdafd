//! `minus send`: files or a text to a wallet address.

use std::path::PathBuf;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use clap::Args;

use super::Context;
use super::bars;
use super::output::{facts, table};
use crate::error::Error;
use crate::parcel::Item;
use crate::send::{SendOptions, SendReport, SentItem};

/// Send files or a text to a wallet address.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  minus send --wallet bob 0x7E5F… report.pdf photos.zip
  minus send --wallet bob 0x7E5F… --text 'see you at six'
  minus send --anonymous 0x7E5F… --via 0x51c0… leak.txt --json

The recipient learns the address of the wallet you send from, and nobody else does. You need no
account: the recipient pays.")]
pub struct SendArgs {
    /// The recipient's wallet address
    address: Address,
    /// Files to send
    #[arg(value_name = "FILE", required_unless_present = "text")]
    files: Vec<PathBuf>,
    /// A text to send
    #[arg(long)]
    text: Option<String>,
    /// Name of the wallet to send from [default: the only one]
    #[arg(long, value_name = "NAME", conflicts_with = "anonymous")]
    wallet: Option<String>,
    /// Send from a key made for this sending and forgotten after it
    #[arg(long)]
    anonymous: bool,
    /// The access node [default: any but the recipient's agent]
    #[arg(long, value_name = "NODE")]
    via: Option<Address>,
}

pub(super) async fn run(context: &Context, args: SendArgs) -> Result<(), Error> {
    let sender = if args.anonymous { PrivateKeySigner::random() } else { context.unlock(args.wallet.as_deref())? };
    let client = context.client().await?;
    let texts = args.text.into_iter().map(Item::Text);
    let items = texts.chain(args.files.into_iter().map(Item::File)).collect();
    let options = SendOptions { recipient: args.address, via: args.via, items };
    let report = client.send(&sender, &options, &bars::sending(context.output)).await?;
    context.output.result(&report, lines);
    Ok(())
}

fn lines(report: &SendReport) -> String {
    let rows = report.items.iter().map(|item| match item {
        SentItem::Text { size, packets, wire_bytes } => {
            ["(text)".to_owned(), size.to_string(), packets.to_string(), wire_bytes.to_string(), String::new()]
        }
        SentItem::File { name, size, packets, wire_bytes, sha256, .. } => {
            [name.clone(), size.to_string(), packets.to_string(), wire_bytes.to_string(), sha256.clone()]
        }
    });
    let mut text = table(["SENT", "BYTES", "PACKETS", "ON THE WIRE", "SHA-256"], rows);
    text.push_str("\n\n");
    text.push_str(&facts(&[
        ("from", report.sender.to_string()),
        ("to", report.recipient.to_string()),
        ("through", report.via.to_string()),
        ("stored at", report.agent.to_string()),
    ]));
    text
}
