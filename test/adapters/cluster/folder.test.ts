import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { prepareFolder } from '../../../lib/adapters/cluster/folder.ts'
import { clusterAdapter } from '../../../lib/adapters/cluster/index.ts'
import { AdapterError, OptionsError } from '../../../lib/errors.ts'

const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8)
const MODULE = fileURLToPath(new URL('../../../dist/adapters/cluster/folder.js', import.meta.url))

describe('the folder of a mesh', function () {
  this.timeout(20_000)
  const asRoot = process.getuid?.() === 0
  const before = { ...process.env }
  let base: string
  let root: string

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'koaws-'))
    root = join(base, `koaws-${process.getuid?.()}`)
    process.env['XDG_RUNTIME_DIR'] = base
    for (const name of ['pm_id', 'name', 'namespace', 'PM2_HOME']) delete process.env[name]
  })

  afterEach(() => {
    for (const name of ['XDG_RUNTIME_DIR', 'TMPDIR', 'pm_id', 'name', 'namespace', 'PM2_HOME']) {
      if (before[name] === undefined) delete process.env[name]
      else process.env[name] = before[name]
    }
    rmSync(base, { recursive: true, force: true })
  })

  it('is entered by nobody else, whatever the umask', () => {
    const umask = process.umask(0)
    try {
      const path = prepareFolder('app', undefined)
      expect(path.startsWith(`${root}/`)).to.equal(true)
      for (const each of [root, path]) expect(mode(each)).to.equal('700')
      const given = join(base, 'x', 'y')
      expect(mode(prepareFolder('app', given))).to.equal('700')
      expect(mode(given)).to.equal('700')
      expect(prepareFolder('app', undefined), 'the same again').to.equal(path)
    } finally {
      process.umask(umask)
    }
  })

  it('is below the folder for temporary files where the system has no better one', () => {
    delete process.env['XDG_RUNTIME_DIR']
    process.env['TMPDIR'] = base
    expect(prepareFolder('app', undefined).startsWith(`${root}/`)).to.equal(true)
    process.env['XDG_RUNTIME_DIR'] = ''
    expect(prepareFolder('app', undefined).startsWith(`${root}/`)).to.equal(true)
  })

  /** The outer and the inner folder, spoilt before each is used. */
  function refuses(spoil: (path: string) => void, why: RegExp): void {
    const inner = prepareFolder('app', undefined)
    for (const path of [inner, root]) {
      rmSync(path, { recursive: true })
      spoil(path)
      expect(() => prepareFolder('app', undefined), path)
        .to.throw(AdapterError, why)
        .with.property('code', 'ERR_KOAWS_BACKPLANE')
      rmSync(path, { recursive: true })
      prepareFolder('app', undefined)
    }
  }

  for (const wrong of [0o755, 0o750, 0o701, 0o777, 0o1777]) {
    it(`is refused with the mode ${wrong.toString(8)}`, () => {
      refuses((path) => {
        mkdirSync(path)
        chmodSync(path, wrong)
      }, /can be entered by others \(mode \d+, not 700\).*Remove it, or give another "folder"/)
    })
  }

  it('is refused where a link was planted', () => {
    const elsewhere = join(base, 'elsewhere')
    mkdirSync(elsewhere, { mode: 0o700 })
    refuses((path) => symlinkSync(elsewhere, path), /is no folder/)
  })

  it('is refused where a link leads nowhere', () => {
    refuses((path) => symlinkSync(join(base, 'nowhere'), path), /clusterAdapter\(\)/)
  })

  it('is refused where a file was planted', () => {
    refuses((path) => writeFileSync(path, ''), /cannot make its folder/)
  })

  it('is refused when it belongs to another user', function () {
    if (!asRoot) this.skip()
    refuses((path) => {
      mkdirSync(path, { mode: 0o700 })
      chownSync(path, 12_345, 12_345)
    }, /belongs to another user/)
  })

  it('has a path that is short enough for sockets', () => {
    const longest = process.platform === 'linux' ? 107 : 103
    const room = longest - 26 - 13 // an id and .sock; a slash and what is made of the name
    const fits = join(base, 'x'.repeat(room - base.length - 1))
    expect(Buffer.byteLength(prepareFolder('app', fits)) + 26).to.equal(longest)
    for (const long of [`${fits}x`, join(base, 'é'.repeat(60))]) {
      expect(() => prepareFolder('app', long)).to.throw(OptionsError, /too long for a Unix socket/)
    }
  })

  it('needs a name where nothing else says who belongs together', () => {
    for (const folder of [undefined, base]) {
      expect(() => clusterAdapter({ folder })).to.throw(OptionsError, /give it the option "name"/)
    }
    expect(clusterAdapter({ name: 'app' }).connect).to.be.a('function')
  })

  it('is one for each name', () => {
    const names = ['a', 'b', '', 'é', '../../x', 'a/b', 'x'.repeat(1_000)]
    const paths = names.map((name) => prepareFolder(name, undefined))
    expect(new Set(paths).size).to.equal(names.length)
    for (const path of paths) expect(path).to.match(/^[^.]+\/koaws-\d+\/[\w-]{12}$/)
  })

  it('is one for each application of each PM2', () => {
    const seen = new Set<string>()
    const of = (env: Record<string, string>, folder?: string): string => {
      Object.assign(process.env, env)
      return prepareFolder(undefined, folder)
    }
    const live = { pm_id: '0', name: 'live', namespace: 'default', PM2_HOME: '/home/a/.pm2' }
    seen.add(of(live))
    seen.add(of({ ...live, name: 'other' }))
    seen.add(of({ ...live, namespace: 'other' }))
    seen.add(of({ ...live, PM2_HOME: '/home/b/.pm2' }))
    seen.add(prepareFolder('live', undefined))
    expect(seen.size).to.equal(5)
    expect(seen).to.include(of({ ...live, pm_id: '3' }), 'its workers have the same')
    expect(of(live, base)).to.not.equal(of({ ...live, name: 'other' }, base))
  })

  it('is one for the workers of a primary of node:cluster, and not for its next start', () => {
    const script = join(base, 'primary.mjs')
    writeFileSync(
      script,
      `import cluster from 'node:cluster'
      import { prepareFolder } from ${JSON.stringify(MODULE)}
      if (cluster.isPrimary) {
        cluster.fork()
        cluster.fork()
      } else {
        console.log(prepareFolder(undefined, undefined))
        process.disconnect()
      }`,
    )
    const run = (): string[] =>
      execFileSync(process.execPath, [script], { encoding: 'utf8' }).trim().split('\n')
    const [one, two] = run()
    expect(one).to.be.a('string').and.to.equal(two)
    expect(run()).to.not.include(one)
  })
})
