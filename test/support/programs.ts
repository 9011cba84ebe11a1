import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** A program that some tests start, and that npm does not have. */
interface Program {
  /** Debian's package of it. */
  readonly debian: string
  /** Returns its path, if it is installed. */
  find(): string | undefined
}

/** The programs that some tests start. `npm run setup` installs the missing ones. */
export const PROGRAMS = {
  chromium: { debian: 'chromium', find: () => onPath('chromium') },
  haproxy: { debian: 'haproxy', find: () => onPath('haproxy') },
  nginx: { debian: 'nginx-light', find: () => onPath('nginx') },
  // Debian's package brings promtool as well.
  prometheus: {
    debian: 'prometheus',
    find: () => (onPath('promtool') ? onPath('prometheus') : undefined),
  },
  promtool: { debian: 'prometheus', find: () => onPath('promtool') },
  'redis-server': { debian: 'redis-server', find: () => onPath('redis-server') },
  // Debian's package serves the Python of Debian, which need not be the first on the PATH.
  "Python's websockets": {
    debian: 'python3-websockets',
    find: () => ['/usr/bin/python3', 'python3'].find(hasWebsockets),
  },
} as const satisfies Record<string, Program>

export type ProgramName = keyof typeof PROGRAMS

/** Whether a missing program is a failure instead of a reason to skip a test. */
export const ALL = process.env['KOAWS_TEST_ALL'] === '1'

/** Returns the programs that are missing. */
export function missingPrograms(): ProgramName[] {
  return (Object.keys(PROGRAMS) as ProgramName[]).filter((name) => !PROGRAMS[name].find())
}

/** Returns the path of a program. @throws when it is missing */
export function pathOf(name: ProgramName): string {
  const found = PROGRAMS[name].find()
  if (!found) throw new Error(`${name} is not installed: run npm run setup`)
  return found
}

/**
 * Call it first in a `describe`: skips its tests when one of these programs is missing. Under
 * `npm run test:all` they fail instead.
 */
export function needs(...names: ProgramName[]): void {
  before(function needsPrograms() {
    const missing = names.filter((name) => !PROGRAMS[name].find())
    if (missing.length === 0) return
    if (ALL) throw new Error(`missing: ${missing.join(', ')}. Run npm run setup`)
    this.skip()
  })
}

function onPath(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

function hasWebsockets(python: string): boolean {
  return spawnSync(python, ['-c', 'import websockets']).status === 0
}
