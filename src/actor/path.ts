/**
 * Paths of actors: `/shop/owners/key-3` on this node, `//b/shop/owners/key-3` on node b. Ids are checked here, once, so
 * that a path is always safe to split.
 *
 * They resolve as URLs do: what is relative to a path of another node stays on that node, `/log` too. So an actor
 * that was placed elsewhere still lives among the names of the node that it comes from.
 */
import { TroupeError } from '../world/error.js'

const ID = /^[A-Za-z0-9_.-]{1,128}$/
const NODE = /^[A-Za-z0-9_-]{1,64}$/

export function isNodeName(name: string): boolean {
  return NODE.test(name)
}

/** The node that a path names; undefined: it names none, so it is of this one. */
export function nodeOf(path: string): string | undefined {
  return path.startsWith('//') ? path.slice(2).split('/', 1)[0] : undefined
}

/** The path as the node `own` sees it: its own name is left out. */
export function localPath(own: string | undefined, path: string): string {
  if (own === undefined || nodeOf(path) !== own) return path
  return path.slice(own.length + 2)
}

/** The path as every node understands it. */
export function globalPath(own: string | undefined, path: string): string {
  return own === undefined || path.startsWith('//') ? path : `//${own}${path}`
}

/** @throws TroupeError `bad-child-id` */
export function childPath(parent: string, id: string): string {
  if (!ID.test(id) || id === '.' || id === '..')
    throw new TroupeError({
      code: 'bad-child-id',
      message: `'${id.slice(0, 140)}' is no id of an actor`,
      place: parent,
      remedy: 'use 1 to 128 of A-Z a-z 0-9 _ . -',
    })
  return parent === '/' ? `/${id}` : `${parent}/${id}`
}

/** A relative path starts at `base`, as a folder: `../log` seen from `/shop/owners` is `/shop/log`. */
export function resolvePath(base: string, path: string): string {
  const node = nodeOf(path.startsWith('//') ? path : base)
  const parts: string[] = path.startsWith('/') ? [] : inside(base).split('/')
  for (const part of (path.startsWith('//') ? inside(path) : path).split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.' && part !== '') parts.push(part)
  }
  return `${node === undefined ? '' : `//${node}`}/${parts.filter((part) => part !== '').join('/')}`
}

/** A path without its node. */
function inside(path: string): string {
  const node = nodeOf(path)
  return node === undefined ? path : path.slice(node.length + 2)
}

export function idOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
