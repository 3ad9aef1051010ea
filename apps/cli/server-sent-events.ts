interface ServerSentEvent {
  type: string;
  data: string;
}

/** Parses a stream of server-sent events from pieces of any length. */
export class ServerSentEvents {
  private rest = '';

  /** @returns the events that this piece completes */
  push(piece: string): ServerSentEvent[] {
    // The rest may end between \r and \n, so it is normalized with the next piece.
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
