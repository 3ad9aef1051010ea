/**
 * Orders nodes so that each comes after those that it needs. In a cycle one node comes before a node that it needs.
 * @param needs may return nodes that are not in the list, which are then ordered too
 */
export function afterNeeds<Node>(nodes: Iterable<Node>, needs: (node: Node) => Iterable<Node>): Node[] {
  const ordered: Node[] = [];
  const begun = new Set<Node>();
  // A path instead of recursion, because it can be as long as the list.
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

/** Returns the nodes that steps lead to, with the nodes at which they begin. */
export function reached<Node>(from: Iterable<Node>, steps: (node: Node) => Iterable<Node>): Set<Node> {
  return new Set(afterNeeds(from, steps));
}
