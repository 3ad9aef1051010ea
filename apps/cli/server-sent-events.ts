interface ServerSentEvent {
  type: string;
  data: string;
}

/** Takes the text of a stream of server-sent events in whatever pieces it comes. */
export class ServerSentEvents {
  private rest = '';

  /** @returns the events that are complete now */
  push(piece: string): ServerSentEvent[] {
    // A line break that comes in two halves waits for the other one.
    const blocks = (this.rest + piece).replace(/\r\n/g, '\n').split('\n\n');
    this.rest = blocks.pop() ?? '';
    return blocks.map(eventOf).filter(({ data }) => data !== '');
  }
}

function eventOf(block: string): ServerSentEvent {
  const lines = block.split('\n');
  const valuesOf = (field: string) =>
    lines
      .filter((line) => line.startsWith(`${field}:`))
      .map((line) => line.slice(field.length + 1).replace(/^ /, ''));
  return { type: valuesOf('event').at(-1) ?? 'message', data: valuesOf('data').join('\n') };
}
