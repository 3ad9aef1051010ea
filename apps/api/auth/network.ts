import { isIPv4 } from 'node:net';

/** The addresses that one client controls: an IPv4 address, or an IPv6 network of 64 bits. */
export function networkOf(address: string): string {
  const last = address.slice(address.lastIndexOf(':') + 1);
  if (isIPv4(last)) return last;
  const [head = [], tail] = address.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - head.length - tail.length);
  const groups = [...head, ...Array<string>(zeros).fill('0'), ...(tail ?? [])];
  return groups.slice(0, 4).join(':');
}

/** The neighbourhood of an address, in which one holder often has many networks: 24 bits of IPv4, 48 bits of IPv6. */
export function neighbourhoodOf(address: string): string {
  const network = networkOf(address);
  const separator = network.includes('.') ? '.' : ':';
  return network.split(separator).slice(0, 3).join(separator);
}
