import { isIPv4 } from 'node:net';

/** What one client commands: an IPv4 address, or of IPv6 the 64 bits of a network, within which addresses cost nothing. */
export function networkOf(address: string): string {
  const last = address.slice(address.lastIndexOf(':') + 1);
  if (isIPv4(last)) return last;
  const [head = [], tail] = address.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - head.length - tail.length);
  const groups = [...head, ...Array<string>(zeros).fill('0'), ...(tail ?? [])];
  return groups.slice(0, 4).join(':');
}

/** The neighbourhood of an address: one holder often has many networks in it. Of IPv4 the first 24 bits, of IPv6 the first 48. */
export function neighbourhoodOf(address: string): string {
  const network = networkOf(address);
  const separator = network.includes('.') ? '.' : ':';
  return network.split(separator).slice(0, 3).join(separator);
}
