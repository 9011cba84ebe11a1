// Installs what the tests use besides `npm ci`: the Koa middleware of test/peers and the TypeDoc of
// scripts/reference from npm, and with --programs what `npm run test:all` starts (Chromium, nginx, HAProxy, Prometheus, Redis, Python's websockets) from Debian.
import { spawnSync } from 'node:child_process'
import { missingPrograms, PROGRAMS } from '../test/support/programs.ts'
import { installFolder } from './install.ts'

process.chdir(new URL('..', import.meta.url).pathname)
const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }

installFolder('test/peers')
installFolder('scripts/reference')

if (process.argv.includes('--programs')) installPrograms()

function installPrograms(): void {
  const missing = missingPrograms()
  if (missing.length === 0) return
  const packages = [...new Set(missing.map((name) => PROGRAMS[name].debian))]
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`
  const before = asRoot()
  if (!before) {
    console.error(
      `npm run test:all needs ${missing.join(', ')}. On Debian run as root: ${command}. Elsewhere put them on the PATH.`,
    )
    process.exit(1)
  }
  const run = (...words: string[]): number | null => {
    const [first = '', ...rest] = [...before, ...words]
    return spawnSync(first, rest, { env, stdio: ['ignore', 'ignore', 'inherit'] }).status
  }
  console.log(`installing ${packages.join(' ')}`)
  run('apt-get', 'update', '-qq')
  run(...command.split(' '), '-qq')
  const still = missingPrograms()
  if (still.length > 0) {
    console.error(`still missing: ${still.join(', ')}. Run as root: ${command}`)
    process.exit(1)
  }
}

/** Returns the words that run a command as root, or null if that needs a password. */
function asRoot(): string[] | null {
  if (spawnSync('apt-get', ['--version']).status !== 0) return null
  if (process.getuid?.() === 0) return []
  return spawnSync('sudo', ['-n', 'true']).status === 0 ? ['sudo', '-n'] : null
}
