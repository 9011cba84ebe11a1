import { spawnSync } from 'node:child_process'

const namespaces = new Set<Namespace>()

/** A network namespace with one link to the host, on which packets to one port can be dropped. */
export class Namespace {
  readonly name: string = `koaws-${process.pid}`
  /** The addresses of the host and of the namespace. */
  readonly here: string
  readonly there: string

  /** @throws without the privileges */
  constructor() {
    const net = `10.213.${process.pid % 250}`
    this.here = `${net}.1`
    this.there = `${net}.2`
    const [near, far] = [`kw${process.pid}a`, `kw${process.pid}b`]
    namespaces.add(this)
    try {
      run('ip', 'netns', 'add', this.name)
      run('ip', 'link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', this.name)
      run('ip', 'addr', 'add', `${this.here}/30`, 'dev', near)
      run('ip', 'link', 'set', near, 'up')
      this.#inside('ip', 'addr', 'add', `${this.there}/30`, 'dev', far)
      this.#inside('ip', 'link', 'set', far, 'up')
      this.#inside('ip', 'link', 'set', 'lo', 'up')
    } catch (error) {
      this.end()
      throw error
    }
  }

  /** The command prefix that runs a program in the namespace. */
  get words(): string[] {
    return ['ip', 'netns', 'exec', this.name]
  }

  /** Drops all packets to and from a port of the host. */
  cut(port: number): void {
    for (const rule of rules(port)) this.#inside('iptables', '-A', ...rule)
  }

  heal(port: number): void {
    for (const rule of rules(port)) this.#inside('iptables', '-D', ...rule)
  }

  /** Removes the namespace with its rules and its link. */
  end(): void {
    namespaces.delete(this)
    spawnSync('ip', ['netns', 'del', this.name])
    spawnSync('ip', ['link', 'del', `kw${process.pid}a`])
  }

  #inside(...words: string[]): void {
    run(...([...this.words, ...words] as [string, ...string[]]))
  }
}

/** Removes the remaining namespaces. */
export function endNamespaces(): void {
  for (const namespace of namespaces) namespace.end()
}

function rules(port: number): string[][] {
  return [
    ['OUTPUT', '-p', 'tcp', '--dport', String(port), '-j', 'DROP'],
    ['INPUT', '-p', 'tcp', '--sport', String(port), '-j', 'DROP'],
  ]
}

function run(program: string, ...words: string[]): void {
  const { status, stderr, error } = spawnSync(program, words, { encoding: 'utf8' })
  if (status !== 0) {
    throw new Error(`${program} ${words.join(' ')}: ${error?.message ?? stderr.trim()}`)
  }
}
