import { execFileSync } from 'node:child_process'
import fs, {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { expectedByPm2, prepareFolder } from '../../../lib/adapters/cluster/folder.ts'
import { clusterAdapter } from '../../../lib/adapters/cluster/index.ts'
import { AdapterError, OptionsError } from '../../../lib/errors.ts'

const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8)
/** The environment variables that PM2 sets for its workers. */
const PM2 = ['pm_id', 'name', 'namespace', 'PM2_HOME', 'instances']
const MODULE = fileURLToPath(new URL('../../../dist/adapters/cluster/folder.js', import.meta.url))

describe('prepareFolder(): the folder of a mesh', () => {
  const asRoot = process.getuid?.() === 0
  const before = { ...process.env }
  let base: string
  let root: string

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'koaws-'))
    root = join(base, `koaws-${process.getuid?.()}`)
    process.env['XDG_RUNTIME_DIR'] = base
    for (const name of PM2) delete process.env[name]
  })

  afterEach(() => {
    for (const name of ['XDG_RUNTIME_DIR', 'TMPDIR', ...PM2]) {
      if (before[name] === undefined) delete process.env[name]
      else process.env[name] = before[name]
    }
    rmSync(base, { recursive: true, force: true })
  })

  it('makes a folder that only its user can enter, with any umask', () => {
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

  it('uses the folder for temporary files when XDG_RUNTIME_DIR is unset or empty', () => {
    delete process.env['XDG_RUNTIME_DIR']
    process.env['TMPDIR'] = base
    expect(prepareFolder('app', undefined).startsWith(`${root}/`)).to.equal(true)
    process.env['XDG_RUNTIME_DIR'] = ''
    expect(prepareFolder('app', undefined).startsWith(`${root}/`)).to.equal(true)
  })

  /** Expects a refusal when either the outer or the inner folder is spoiled. */
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
    it(`refuses a folder with the mode ${wrong.toString(8)}`, () => {
      refuses((path) => {
        mkdirSync(path)
        chmodSync(path, wrong)
      }, /is accessible to other users \(mode \d+, not 700\).*Remove it, or give another "folder"/)
    })
  }

  it('refuses a planted symbolic link', () => {
    const elsewhere = join(base, 'elsewhere')
    mkdirSync(elsewhere, { mode: 0o700 })
    refuses((path) => symlinkSync(elsewhere, path), /is not a folder/)
  })

  it('refuses a dangling symbolic link', () => {
    refuses((path) => symlinkSync(join(base, 'nowhere'), path), /clusterAdapter\(\)/)
  })

  it('refuses a planted file', () => {
    refuses((path) => writeFileSync(path, ''), /cannot create the folder/)
  })

  it('refuses a folder of another user', function () {
    if (!asRoot) this.skip()
    refuses((path) => {
      mkdirSync(path, { mode: 0o700 })
      chownSync(path, 12_345, 12_345)
    }, /belongs to another user/)
  })

  it('refuses a folder without write permission, and names the path and the variable that chose it', function () {
    if (!asRoot) this.skip()
    const user = 12_345
    chownSync(base, user, user)
    const script = join(base, 'script.mjs')
    const outside = join(base, 'outside')
    mkdirSync(outside, { mode: 0o755 })
    const own = join(base, 'own')
    mkdirSync(own, { mode: 0o700 })
    chownSync(own, user, user)
    writeFileSync(
      script,
      `import { chmodSync } from 'node:fs'
      import { prepareFolder } from ${JSON.stringify(MODULE)}
      const fails = () => {
        try {
          prepareFolder('app', process.argv[2])
          console.log('it works')
        } catch (error) {
          console.log(error.code, error.message)
        }
      }
      fails()
      if (process.argv[2]) {
        const path = prepareFolder('app', process.argv[2])
        chmodSync(path, 0o500)
        fails()
      }`,
    )
    const run = (env: Record<string, string>, ...args: string[]): string =>
      execFileSync(process.execPath, [script, ...args], {
        encoding: 'utf8',
        uid: user,
        gid: user,
        env: { ...env },
      })
    expect(run({ XDG_RUNTIME_DIR: outside }))
      .to.match(/^ERR_KOAWS_BACKPLANE .*cannot create the folder/)
      .and.include(`${outside}/koaws-${user}`)
      .and.include('The path is from XDG_RUNTIME_DIR')
    const [works, not] = run({}, own).split('\n')
    expect(works).to.equal('it works')
    expect(not)
      .to.match(/^ERR_KOAWS_BACKPLANE .*cannot write to /)
      .and.include(own)
      .and.include('The path is from folder')
  })

  describe('on a network file system', () => {
    const { statfsSync } = fs

    afterEach(() => {
      fs.statfsSync = statfsSync
      syncBuiltinESMExports()
    })

    const systems = { NFS: 0x6969, CIFS: 0xff534d42 | 0, SMB: 0x517b, Ceph: 0x00c36400 }
    for (const [system, type] of Object.entries(systems)) {
      it(`refuses ${system}`, () => {
        fs.statfsSync = (() => ({ type })) as unknown as typeof statfsSync
        syncBuiltinESMExports()
        expect(() => prepareFolder('app', undefined))
          .to.throw(AdapterError, `(${system}). Give a "folder" on this machine`)
          .with.property('message')
          .that.includes(root)
      })
    }

    it('uses the folder when the type of the file system is unknown', () => {
      fs.statfsSync = (() => {
        throw new Error('not supported')
      }) as unknown as typeof statfsSync
      syncBuiltinESMExports()
      expect(prepareFolder('app', undefined)).to.include(root)
    })
  })

  it('refuses a path that is too long for a Unix socket', () => {
    const longest = process.platform === 'linux' ? 107 : 103
    const room = longest - 26 - 13 // an id and .sock; a slash and the hash of the name
    const fits = join(base, 'x'.repeat(room - base.length - 1))
    expect(Buffer.byteLength(prepareFolder('app', fits)) + 26).to.equal(longest)
    for (const long of [`${fits}x`, join(base, 'é'.repeat(60))]) {
      expect(() => prepareFolder('app', long)).to.throw(OptionsError, /too long for a Unix socket/)
    }
  })

  it('requires a name outside of PM2 and node:cluster', () => {
    for (const folder of [undefined, base]) {
      expect(() => clusterAdapter({ folder })).to.throw(OptionsError, /needs the option "name"/)
    }
    expect(clusterAdapter({ name: 'app' }).connect).to.be.a('function')
  })

  it('makes one folder per name', () => {
    const names = ['a', 'b', '', 'é', '../../x', 'a/b', 'x'.repeat(1_000)]
    const paths = names.map((name) => prepareFolder(name, undefined))
    expect(new Set(paths).size).to.equal(names.length)
    for (const path of paths) expect(path).to.match(/^[^.]+\/koaws-\d+\/[\w-]{12}$/)
  })

  it('makes one folder per application of each PM2 daemon', () => {
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

  it('expects the number of instances that PM2 was started with', () => {
    for (const [instances, expected] of [
      ['4', 4],
      ['1', 1],
      ['0', undefined],
      ['max', undefined],
      ['', undefined],
    ] as const) {
      Object.assign(process.env, { pm_id: '0', instances })
      expect(expectedByPm2(), instances).to.equal(expected)
    }
    delete process.env['pm_id']
    process.env['instances'] = '4'
    expect(expectedByPm2(), 'without PM2').to.equal(undefined)
  })

  it('makes one folder for the workers of a node:cluster primary, and another one at its next start', () => {
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
