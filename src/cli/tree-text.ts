/** The live supervision tree for a person: one actor a line. */
import type { TreeNode } from '../actor/actor.js'
import { elapsedText, tableLines } from './format.js'

export function treeLines(nodes: readonly TreeNode[]): string[] {
  const rows: string[][] = [['actor', 'state', 'thread', 'mailbox', 'restarts', 'up', '']]
  const walk = (node: TreeNode, prefix: string, branch: string, below: string): void => {
    rows.push([
      `${prefix}${branch}${node.id}${node.kind === 'supervisor' ? '/' : ''}`,
      node.state,
      node.thread,
      String(node.mailbox),
      String(node.restarts),
      elapsedText(node.upMs),
      node.lastError === undefined ? '' : `last error: ${node.lastError.split('\n', 1)[0]!.slice(0, 120)}`,
    ])
    node.children.forEach((child, index) => {
      const last = index === node.children.length - 1
      walk(child, prefix + below, last ? '└─ ' : '├─ ', last ? '   ' : '│  ')
    })
  }
  for (const node of nodes) walk(node, '', '', '')
  return tableLines(rows, '')
}
