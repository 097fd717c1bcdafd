// A subscription in a page, by the browser's own `EventSource`: it comes back by itself with the id it saw last; when
// it gives up, because a node answered something else than a stream, a new packet is sealed.

import { toBase64Url } from "./bytes.js";
import { StreamOpener } from "./stream.js";

// After a node said no: it restarts, or it has not seen the chain yet.
const AGAIN_MS = 300;

export class Follower {
  #client;
  #take;
  #report;
  #queue = Promise.resolve();

  /** `take` gets each frame, one after the other; `report` what happens to the connection, and errors. */
  constructor(client, { take, report }) {
    this.#client = client;
    this.#take = take;
    this.#report = report;
  }

  async start() {
    const { packet, session } = await this.#client.subscription();
    const source = new EventSource(`${this.#client.endpoint}/?packet=${toBase64Url(packet)}`);
    this.#report("source");
    let opener;
    let lastId = "";
    source.addEventListener("salt", ({ data }) => {
      opener = new StreamOpener(session);
      this.#guard(source, () => opener.open({ event: "salt", data }));
      this.#report("connection");
    });
    source.addEventListener("message", ({ data, lastEventId }) => {
      // An event without an id of its own comes with that of the one before.
      const id = lastEventId === lastId ? undefined : lastEventId;
      lastId = lastEventId;
      this.#guard(source, () => {
        const frame = opener.open({ id, data });
        this.#queue = this.#queue.then(() => this.#take(frame)).catch((error) => this.#report("error", error));
      });
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) this.#again();
    });
  }

  // What does not open is not the agent's: such a connection is of no more use.
  #guard(source, act) {
    try {
      act();
    } catch (error) {
      this.#report("error", error);
      source.close();
      this.#again();
    }
  }

  #again() {
    // What is held decides where to resume: first everything received has to be.
    const queued = this.#queue;
    setTimeout(() => queued.then(() => this.start()), AGAIN_MS);
  }
}
