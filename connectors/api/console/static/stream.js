// The server's events. It connects again by itself, goes on from the last event it saw, and says how it stands.

const SILENCE_MS = 6000;
const AGAIN_MS = 3000;

export class Stream {
  // handlers: pulse(data), changes(data), refresh() and state("live" | "away" | "wait")
  constructor(handlers) {
    this.handlers = handlers;
    this.cursor = "";
    this.source = null;
    this.heardAt = 0;
    setInterval(() => this.watch(), 1000);
    // A page nobody sees leaves its connection to those that are seen: browsers allow six.
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
  }

  from(cursor) {
    this.cursor = cursor;
    this.open();
  }

  open() {
    this.close();
    this.heardAt = Date.now();
    const source = new EventSource(`/console/stream?since=${encodeURIComponent(this.cursor)}`);
    this.source = source;
    const on = (name, handle) =>
      source.addEventListener(name, (event) => {
        this.heardAt = Date.now();
        if (event.lastEventId) this.cursor = event.lastEventId;
        this.handlers.state("live");
        handle(JSON.parse(event.data));
      });
    on("pulse", this.handlers.pulse);
    on("changes", this.handlers.changes);
    on("refresh", this.handlers.refresh);
    source.addEventListener("error", () => {
      this.handlers.state("away");
      if (source.readyState === EventSource.CLOSED && this.source === source) setTimeout(() => this.again(source), AGAIN_MS);
    });
  }

  // The server refused it, perhaps because as many pages follow as it can serve: until it does, the page is read anew.
  again(source) {
    if (this.source === source && !document.hidden) this.handlers.refresh();
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  watch() {
    if (this.source === null || Date.now() - this.heardAt < SILENCE_MS) return;
    this.handlers.state("away");
    this.open();
  }
}
