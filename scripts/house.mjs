// The two rules of the house that a general linter does not know:
//   1. imports between the rooms of src/ point one way (the order below, lowest first);
//   2. clocks, timers and randomness are reached through World alone.
// Prints each breach with its place; exits 1 if there is one.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const source = join(root, 'src')

/** Rooms of one line may import each other. */
const floors = [
  ['world', 'actor'],
  ['event'],
  ['wire'],
  ['checkpoint', 'log'],
  ['source'],
  ['partition'],
  ['processor', 'deadletter', 'sink'],
  ['membership'],
  ['pipeline'],
  ['operator', 'servers', 'cli', 'testkit', 'index.ts'],
]
const floorOf = new Map(floors.flatMap((rooms, floor) => rooms.map((room) => [room, floor])))

/** Nothing below the edge may know these. `src/world` is where they are allowed. */
const forbidden =
  /\b(Date\.now|new Date\(\)|performance\.now|process\.hrtime|setTimeout|setInterval|setImmediate|Math\.random|randomUUID|getRandomValues|randomBytes|randomInt)\b(?=\s*\()|\bnew Date\(\)|node:timers/g
/** Drivers of the pure state machines: no I/O in these files. */
const breaches = []

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* files(path)
    else if (entry.name.endsWith('.ts')) yield path
  }
}

function roomOf(path) {
  return relative(source, path).split(sep)[0]
}

for (const path of files(source)) {
  const text = readFileSync(path, 'utf8')
  const room = roomOf(path)
  const floor = floorOf.get(room)
  const name = relative(root, path)
  if (floor === undefined) {
    breaches.push(`${name}: '${room}' is no room of the house; the rooms are in scripts/house.mjs`)
    continue
  }
  const lineOf = (index) => text.slice(0, index).split('\n').length
  for (const match of text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
    const target = roomOf(resolve(dirname(path), match[1]).replace(/\.js$/, '.ts'))
    const targetFloor = floorOf.get(target)
    if (targetFloor === undefined || targetFloor > floor)
      breaches.push(`${name}:${lineOf(match.index)}: ${room} imports ${target}, which stands above it`)
  }
  if (room === 'world') continue
  for (const match of text.matchAll(forbidden)) {
    const line = text.split('\n')[lineOf(match.index) - 1]
    if (/^\s*(\*|\/\/|\/\*)/.test(line) || /\bworld\.(randomBytes)/.test(line)) continue
    breaches.push(`${name}:${lineOf(match.index)}: ${match[0].trim()} outside src/world; take it from World`)
  }
}

for (const breach of breaches) console.error(breach)
if (breaches.length > 0) process.exit(1)
