/** Notices who comes, goes and dies, and which orders change; tells each once. */
import type { Logger } from '../world/logger.js'
import type { ControlEvent } from './control-port.js'
import type { Observer, Orders } from './observer.js'

export interface RosterInit {
  readonly observer: Observer
  readonly node: string
  readonly version: string
  readonly protocol: number
  readonly log: Logger
  readonly tell: (event: ControlEvent) => void
}

export interface Roster {
  look(now: number): void
}

export function createRoster(init: RosterInit): Roster {
  const { observer, node, log, tell } = init
  /** The boots of those who live. */
  let known = new Map<string, string>()
  let orders = ''
  let looked: Orders | null = null

  function greet(other: string, version: string, protocol: number): void {
    tell({ type: 'member-joined', node: other, version })
    if (protocol !== init.protocol)
      log.error(
        { node, other, protocol, ours: init.protocol },
        `node '${other}' speaks another protocol; stop the nodes of one of the two`,
      )
    else if (version !== init.version)
      log.info({ node, other, version, ours: init.version }, `node '${other}' is of another version`)
  }

  function ordersOf(now: Orders): string {
    return JSON.stringify([now.rolling, [...now.drain].sort(), now.pausePipeline, [...now.pausedProcessors].sort()])
  }

  return {
    look(now) {
      const members = observer.members(now)
      const next = new Map<string, string>()
      for (const [other, { record, live }] of members) {
        if (other === node || !live) continue
        next.set(other, record.boot)
        if (known.get(other) !== record.boot) greet(other, record.version, record.protocol)
      }
      for (const other of known.keys()) {
        if (next.has(other)) continue
        const silent = members.get(other)?.silent
        tell(
          silent === undefined
            ? { type: 'member-left', node: other }
            : { type: 'member-lost', node: other, silentMs: Math.round(silent) },
        )
      }
      known = next
      if (looked === observer.orders()) return
      looked = observer.orders()
      const current = ordersOf(looked)
      if (current === orders) return
      orders = current
      tell({ type: 'orders', orders: looked })
    },
  }
}
