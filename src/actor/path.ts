/** Paths of actors: `/shop/owners/key-3`. Ids are checked here, once, so that a path is always safe to split. */
import { TroupeError } from '../world/error.js'

const ID = /^[A-Za-z0-9_.-]{1,128}$/

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
  const parts: string[] = path.startsWith('/') ? [] : base.split('/')
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.' && part !== '') parts.push(part)
  }
  return `/${parts.filter((part) => part !== '').join('/')}`
}

export function idOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
