/**
 * Orders nodes so that each comes after those that it needs. Always ends: in a circle one of them comes before what it
 * needs, and nodes that need each other keep the given order otherwise.
 * @param needs may name nodes that are not among them, which are then ordered too
 */
export function afterNeeds<Node>(nodes: Iterable<Node>, needs: (node: Node) => Iterable<Node>): Node[] {
  const ordered: Node[] = [];
  const begun = new Set<Node>();
  // A path instead of a recursion: it may be as long as there are nodes.
  const path: { node: Node; rest: Iterator<Node> }[] = [];
  const begin = (node: Node) => {
    if (begun.has(node)) return;
    begun.add(node);
    path.push({ node, rest: needs(node)[Symbol.iterator]() });
  };
  for (const root of nodes) {
    begin(root);
    for (let last = path.at(-1); last !== undefined; last = path.at(-1)) {
      const next = last.rest.next();
      if (next.done !== true) begin(next.value);
      else ordered.push(...path.splice(-1).map(({ node }) => node));
    }
  }
  return ordered;
}

/** All nodes that can be reached by steps, with those that they begin at. */
export function reached<Node>(from: Iterable<Node>, steps: (node: Node) => Iterable<Node>): Set<Node> {
  return new Set(afterNeeds(from, steps));
}
