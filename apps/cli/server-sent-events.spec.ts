import { ServerSentEvents } from './server-sent-events.js';

const STREAM =
  'event: status\ndata: {"id":"1"}\n\n: keep-alive\n\nevent: status\r\ndata: a\r\ndata: b\r\n\r\ndata:c\n\nevent: st';

test.each([1, 2, 3, 7, 1_000])('parses whole events from pieces of %i characters', (length) => {
  const events = new ServerSentEvents();
  const pieces = STREAM.match(new RegExp(`[^]{1,${length}}`, 'g')) ?? [];
  expect(pieces.flatMap((piece) => events.push(piece))).toEqual([
    { type: 'status', data: '{"id":"1"}' },
    { type: 'status', data: 'a\nb' },
    { type: 'message', data: 'c' },
  ]);
});
