import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net';

const BUFFER_BYTES = 256 * 1024;

/**
 * A socket that reads into one buffer for as long as it lives, where others allocate one for every read: PostgreSQL
 * sends in pieces of 8 kB, and their garbage cost more than reading them.
 * https://nodejs.org/api/net.html#new-netsocketoptions
 */
export class OneBufferSocket extends Socket {
  /** Whether listeners are done with the bytes when they return; otherwise they are given a copy. */
  lendsBytes = false;

  constructor() {
    // Node's types know it for connect() only.
    const options: SocketConstructorOpts & ConnectOpts = {
      onread: {
        buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES),
        callback: (length, buffer) => {
          const bytes = Buffer.from(buffer.buffer, buffer.byteOffset, length);
          this.emit('data', this.lendsBytes ? bytes : Buffer.from(bytes));
          return true;
        },
      },
    };
    super(options);
  }
}
