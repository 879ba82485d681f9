/** The last things that happened here, for people: logged, and kept for `troupe why`. */
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'
import type { ControlEvent } from './control-port.js'
import type { EventLine } from './view.js'

/** Lines that are kept. */
const KEPT = 256

export interface Journal {
  note(event: ControlEvent): void
  lines(resource?: string): readonly EventLine[]
}

export function createJournal(world: World, log: Logger, node: string): Journal {
  const lines: EventLine[] = []
  return {
    note(event) {
      const resource = 'resource' in event ? event.resource : null
      const text = textOf(event)
      lines.push({ at: world.now(), type: event.type, resource, text })
      if (lines.length > KEPT) lines.shift()
      log[levelOf(event)]({ node, event: event.type, ...(resource === null ? {} : { resource }) }, text)
    },
    lines: (resource) => lines.filter((line) => resource === undefined || line.resource === resource),
  }
}

function levelOf(event: ControlEvent): 'debug' | 'info' | 'warn' | 'error' {
  switch (event.type) {
    case 'name-lost':
      return 'error'
    case 'member-lost':
    case 'taken':
    case 'start-failed':
    case 'ended':
    case 'silent':
    case 'given-up':
    case 'heartbeat-late':
      return 'warn'
    case 'refused':
    case 'acquired':
      return 'debug'
    default:
      return 'info'
  }
}

function textOf(event: ControlEvent): string {
  switch (event.type) {
    case 'acquired':
      return `acquired ${event.resource} (${event.how}${event.from === null ? '' : ` from ${event.from}`})`
    case 'running':
      return `${event.resource} runs here (${event.how}, ${Math.round(event.ms)} ms)`
    case 'released':
      return `released ${event.resource} ${event.to === null ? '' : `to ${event.to} `}after ${Math.round(event.ms)} ms`
    case 'taken':
      return `${event.resource} was taken${event.by === null ? '' : ` by ${event.by}`}: stopping it here`
    case 'refused':
      return `the ${event.write} of ${event.resource} came too late`
    case 'start-failed':
      return `${event.resource} could not be started (attempt ${event.attempt}): ${event.error.message}`
    case 'ended':
      return `${event.resource} has ended here, and is started again: ${event.error.message}`
    case 'silent':
      return `${event.resource} gave no proof of life for ${Math.round(event.ms)} ms: restarting it`
    case 'given-up':
      return `${event.resource} is given up to another node: ${event.why}`
    case 'member-joined':
      return `node ${event.node} (${event.version}) is here`
    case 'member-lost':
      return `node ${event.node} is dead: silent for ${event.silentMs} ms`
    case 'member-left':
      return `node ${event.node} has left`
    case 'orders':
      return ordersText(event.orders)
    case 'drained':
      return 'this node holds nothing any more'
    case 'heartbeat-late':
      return `no heartbeat was stored for ${Math.round(event.ms)} ms: others may take over; going on, for storage fences`
    case 'heartbeat-again':
      return 'heartbeats are stored again'
    case 'name-lost':
      return event.error.message
  }
}

function ordersText(orders: Extract<ControlEvent, { type: 'orders' }>['orders']): string {
  const parts = [
    ...(orders.rolling ? ['a rolling upgrade'] : []),
    ...(orders.pausePipeline ? ['the pipeline is paused'] : []),
    ...[...orders.drain].sort().map((node) => `node ${node} drains`),
    ...[...orders.pausedProcessors].sort().map((processor) => `processor ${processor} is paused`),
  ]
  return `orders: ${parts.length === 0 ? 'none' : parts.join(', ')}`
}
