// Dependencies: installed when they are missing or when package-lock.json has changed since, in the versions it locks.
//
// A stamp in node_modules holds the hash of the lock file. Where there is none, but somebody installed exactly what
// the lock file says, only the stamp is written.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fail, root, run, timed } from './ground.mjs'

const modules = join(root, 'node_modules')
const lockFile = join(root, 'package-lock.json')
const stampFile = join(modules, '.troupe-installed')

export async function install() {
  const stamp = createHash('sha256').update(readFileSync(lockFile)).digest('hex')
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return
  if (!matchesLock()) {
    const [program, ...args] = npm()
    const command = lockIsComplete() ? ['ci'] : ['install', '--no-save']
    const title = `npm ${command.join(' ')}`
    const code = await timed(`installing dependencies (${title})`, () =>
      run(program, [...args, ...command, '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'], {
        output: 'stderr',
      }),
    )
    if (code !== 0)
      fail({
        place: root,
        cause: `${title} ended with ${code}`,
        remedy: 'read its message above; the first run needs the npm registry, later ones do not',
      })
  }
  writeFileSync(stampFile, stamp)
}

/** Whether node_modules is what the lock file says; packages for other platforms may be absent. */
function matchesLock() {
  const installedFile = join(modules, '.package-lock.json')
  if (!existsSync(installedFile)) return false
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages
  const wanted = JSON.parse(readFileSync(lockFile, 'utf8')).packages
  return Object.entries(wanted).every(
    ([path, entry]) =>
      path === '' || installed[path]?.version === entry.version || (!installed[path] && entry.optional),
  )
}

/**
 * Whether the lock file names the optional packages of every platform, without which `npm ci` refuses it. npm leaves out
 * those that the registry did not show to whoever made the file. `npm install --no-save` takes the same locked versions
 * and does not mind.
 */
function lockIsComplete() {
  const { packages } = JSON.parse(readFileSync(lockFile, 'utf8'))
  const names = new Set(Object.keys(packages).map((path) => path.split('node_modules/').at(-1)))
  return Object.values(packages).every((entry) =>
    Object.keys(entry.optionalDependencies ?? {}).every((name) => names.has(name)),
  )
}

/** The npm that called us, else the one on PATH. */
function npm() {
  const caller = process.env.npm_execpath
  return caller?.endsWith('.js') && existsSync(caller) ? [process.execPath, caller] : ['npm']
}
