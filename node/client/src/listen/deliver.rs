//! What is durable goes to the application: texts by their event, files into the output directory. Whatever a crash
//! leaves undelivered, the next run delivers.

use super::Listener;
use crate::assemble::{Placed, place};
use crate::error::Error;
use crate::events::ListenEvent;

impl Listener<'_> {
    /// Delivers all texts, and all files whose parts are here.
    pub(super) async fn deliver(&mut self) -> Result<(), Error> {
        let store = &self.client.store;
        let texts = store.waiting_texts(self.wallet()).await?;
        for text in &texts {
            self.summary.texts += 1;
            self.emit(ListenEvent::Text {
                id: hex::encode(text.id),
                sender: text.sender,
                sent_at_ms: text.sent_at_ms,
                text: text.text.clone(),
            });
        }
        if !texts.is_empty() {
            store.delivered(self.wallet(), &texts).await?;
        }
        for file in store.whole_files(self.wallet()).await? {
            match place(store, &file, &self.options.output).await? {
                Placed::Saved(path) => {
                    self.summary.files += 1;
                    self.emit(ListenEvent::File {
                        path,
                        sha256: hex::encode(file.sha256),
                        size: file.size,
                        sender: file.sender,
                        file_id: hex::encode(file.file_id),
                    });
                }
                Placed::Corrupt => {
                    self.summary.discarded += 1;
                    let reason = format!("a file of {} whose bytes are not what their sender said", file.sender);
                    self.emit(ListenEvent::Discarded { seq: None, reason });
                }
            }
        }
        Ok(())
    }
}
