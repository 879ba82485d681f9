/**
 * Programs from Debian's and Ubuntu's archives without touching the system and without root.
 *
 * A private apt root (its own lists, archives and sources, the machine's keys) downloads packages, and `dpkg-deb -x`
 * unpacks them to the shelf. The archive is the one in the machine's own apt sources. If the machine's release has no
 * version that is new enough, newer releases of the same archive are asked; apt checks their signatures as ever.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { messageOf } from '../world/error.js'
import { catalogue, objectionTo, versionOf } from './program.js'
import type { ServerKind } from './server.js'
import { putOnShelf, type Shelved } from './shelf.js'

/** One entry of the machine's apt sources, for the archive of its own release. */
export interface Archive {
  readonly uri: string
  readonly components: readonly string[]
  readonly signedBy: string | undefined
}

/** Other releases of the archive, by distribution, in the order in which they are asked: what is too old in one is newest in testing. */
const newerSuites: Readonly<Record<string, readonly string[]>> = {
  debian: ['testing', 'stable', 'unstable'],
  ubuntu: ['devel'],
}

/**
 * The program from an archive, on the shelf; a string says why there is none.
 *
 * @param objection why a version will not do. Default: what is too old, or of another major version than was asked for
 */
export async function programFromApt(
  cache: string,
  kind: ServerKind,
  major: number | undefined,
  report: (line: string) => void,
  objection = (version: string) => objectionTo(kind, version, kind === 'postgres' ? undefined : major),
): Promise<Shelved | string> {
  if (!(await runs('apt-get')) || !(await runs('dpkg-deb'))) return 'this machine has no apt-get and dpkg-deb'
  const release = readRelease()
  const archive = findArchive(release.codename)
  if (archive === undefined) return 'no apt source of this machine names the archive of its own release'
  const wanted = catalogue[kind].aptPackage(major)
  const reasons: string[] = []
  for (const suite of [release.codename, ...(newerSuites[release.distribution] ?? [])]) {
    try {
      report(`${catalogue[kind].title}: asking the archive's ${suite} for ${wanted}`)
      const apt = await openApt(archive, suite)
      const candidate = await apt.candidate(wanted)
      const reason = candidate === undefined ? 'it has none' : objection(candidate)
      if (reason !== undefined) {
        reasons.push(`${suite}: ${reason}`)
        continue
      }
      // Dependencies that this machine lacks fit only if they are of its own release.
      const packages = await apt.download(wanted, suite === release.codename)
      return await putOnShelf(cache, async (folder) => {
        const program = await unpack(kind, packages, folder)
        return { name: `${kind}-${program.version}`, program }
      })
    } catch (error) {
      reasons.push(`${suite}: ${firstLines(messageOf(error))}`)
    }
  }
  return reasons.join('; ')
}

/** The entry whose suite is exactly this release, from both formats of sources. */
export function findArchive(codename: string, root = '/etc/apt'): Archive | undefined {
  const folder = join(root, 'sources.list.d')
  const files = [
    join(root, 'sources.list'),
    ...(existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []),
  ]
  for (const file of files.filter((path) => existsSync(path))) {
    const text = readFileSync(file, 'utf8')
    const found = file.endsWith('.sources') ? fromStanzas(text, codename) : fromLines(text, codename)
    if (found !== undefined) return found
  }
  return undefined
}

function fromStanzas(text: string, codename: string): Archive | undefined {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'))
  for (const stanza of lines.join('\n').split(/\n\s*\n/)) {
    const field = (name: string) => new RegExp(`^${name}:\\s*(.+)$`, 'im').exec(stanza)?.[1]?.trim()
    const uri = field('URIs')?.split(/\s+/)[0]
    if (uri === undefined || !/\bdeb\b/.test(field('Types') ?? '')) continue
    if (!(field('Suites') ?? '').split(/\s+/).includes(codename)) continue
    return { uri, components: (field('Components') ?? 'main').split(/\s+/), signedBy: field('Signed-By') }
  }
  return undefined
}

function fromLines(text: string, codename: string): Archive | undefined {
  for (const line of text.split('\n')) {
    const found = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)$/.exec(line.trim())
    if (found === null || found[3] !== codename) continue
    const signedBy = /signed-by=(\S+)/.exec(found[1] ?? '')?.[1]
    return { uri: found[2]!, components: found[4]!.split(/\s+/), signedBy }
  }
  return undefined
}

interface Apt {
  candidate(wanted: string): Promise<string | undefined>
  /** Gives the folder of the packages: the one wanted and, if asked, those that it needs and this machine lacks. */
  download(wanted: string, withDependencies: boolean): Promise<string>
}

/** Indexes of ten megabytes: each suite is asked once a process. */
const opened = new Map<string, Promise<Apt>>()

function openApt(archive: Archive, suite: string): Promise<Apt> {
  const known = opened.get(suite)
  if (known !== undefined) return known
  const scratch = mkdtempSync(join(tmpdir(), 'troupe-apt-'))
  process.once('exit', () => rmSync(scratch, { recursive: true, force: true }))
  const apt = updateApt(scratch, archive, suite)
  opened.set(suite, apt)
  apt.catch(() => opened.delete(suite))
  return apt
}

async function updateApt(scratch: string, archive: Archive, suite: string): Promise<Apt> {
  mkdirSync(join(scratch, 'lists', 'partial'), { recursive: true })
  const sources = join(scratch, 'archive.sources')
  const { uri, components, signedBy } = archive
  const stanza = [`Types: deb`, `URIs: ${uri}`, `Suites: ${suite}`, `Components: ${components.join(' ')}`]
  writeFileSync(sources, `${[...stanza, ...(signedBy === undefined ? [] : [`Signed-By: ${signedBy}`])].join('\n')}\n`)
  const configuration = join(scratch, 'apt.conf')
  writeFileSync(configuration, configurationOf(scratch, sources))
  const run = (cwd: string, program: string, ...args: string[]) =>
    promisify(execFile)(program, ['-c', configuration, ...args], {
      cwd,
      timeout: 180_000,
      maxBuffer: 2 ** 26,
      env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    })
  // Without this option apt-get ends with 0 although nothing could be fetched.
  await run(scratch, 'apt-get', '-q', '-o', 'APT::Update::Error-Mode=any', 'update')
  return {
    async candidate(wanted) {
      const { stdout } = await run(scratch, 'apt-cache', 'policy', wanted)
      return /Candidate: (?:\d+:)?(\d[\d.]*)/.exec(stdout)?.[1]
    },
    async download(wanted, withDependencies) {
      const archives = mkdtempSync(join(scratch, 'archives-'))
      mkdirSync(join(archives, 'partial'))
      const command = withDependencies
        ? ['-qy', '--download-only', '--reinstall', '--no-install-recommends', 'install']
        : ['-q', 'download']
      await run(archives, 'apt-get', '-o', `Dir::Cache::Archives=${archives}`, ...command, wanted)
      return archives
    },
  }
}

/** A root of its own for apt: nothing of the system is written, and its hooks are not run. */
function configurationOf(scratch: string, sources: string): string {
  return `#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::Etc::SourceList "${sources}";
Dir::Etc::SourceParts "/nonexistent";
Dir::State::Lists "${join(scratch, 'lists')}";
Dir::Cache "${scratch}";
Debug::NoLocking "1";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
`
}

async function unpack(kind: ServerKind, archives: string, folder: string): Promise<Shelved> {
  const packages = readdirSync(archives).filter((name) => name.endsWith('.deb'))
  for (const name of packages) await promisify(execFile)('dpkg-deb', ['-x', join(archives, name), folder])
  const places = [
    'usr/bin',
    'usr/sbin',
    ...childrenOf(join(folder, 'usr/lib/postgresql')).map((name) => `usr/lib/postgresql/${name}/bin`),
  ]
  const binary = places
    .map((place) => join(place, catalogue[kind].executable))
    .find((path) => existsSync(join(folder, path)))
  if (binary === undefined) throw new Error(`the packages hold no ${catalogue[kind].executable}`)
  const libraries = ['usr/lib', 'lib']
    .flatMap((base) => childrenOf(join(folder, base)).map((name) => join(folder, base, name)))
    .filter((path) => statSync(path).isDirectory() && readdirSync(path).some((name) => name.includes('.so')))
  const version = await versionOf(join(folder, binary), libraries)
  return { version, binary, libraries: libraries.map((path) => relative(folder, path)) }
}

function childrenOf(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : []
}

function readRelease(): { readonly distribution: string; readonly codename: string } {
  const text = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  const field = (name: string) => new RegExp(`^${name}="?([^"\n]*)`, 'm').exec(text)?.[1] ?? ''
  return { distribution: field('ID'), codename: field('VERSION_CODENAME') }
}

async function runs(program: string): Promise<boolean> {
  try {
    await promisify(execFile)(program, ['--version'], { timeout: 20_000 })
    return true
  } catch {
    return false
  }
}

function firstLines(text: string): string {
  return (
    text
      .split('\n')
      .filter((line) => /^(E:|Err:|W:)/.test(line))
      .slice(0, 2)
      .join(' ') || text.split('\n')[0]!
  )
}
