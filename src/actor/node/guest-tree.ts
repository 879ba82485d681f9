/** The part of the tree that one node holds for another: paths and threads as the reader sees them. */
import type { TreeNode } from '../actor.js'

/** As the other node's names; its threads bear the name of the node: `//b/main`. */
export function outward(node: TreeNode, own: string, out: (path: string) => string): TreeNode {
  return {
    ...node,
    path: out(node.path),
    thread: node.thread.startsWith('//') ? node.thread : `//${own}/${node.thread}`,
    children: node.children.map((child) => outward(child, own, out)),
  }
}

export function inward(node: TreeNode, back: (path: string) => string): TreeNode {
  return { ...node, path: back(node.path), children: node.children.map((child) => inward(child, back)) }
}

/** Where details cannot be sent, the rest can. */
export function withoutDetail(node: TreeNode): TreeNode {
  const { detail: _detail, ...rest } = node
  return { ...rest, children: node.children.map(withoutDetail) }
}
