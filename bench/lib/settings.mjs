import { spawnSync } from 'node:child_process'

export function number(name, fallback, { min = 1, max = 10_000_000 } = {}) {
  const text = process.env[name]
  if (text === undefined || text === '') return fallback
  const value = Number(text)
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new Error(`${name}=${text}: an integer from ${min} to ${max} is needed`)
  }
  return value
}

/** `ONLY=koaws-after,koa-easy-ws` runs these contestants, and always the baseline. */
export function selected(names, baseline, others = []) {
  const only = process.env.ONLY
  if (!only) return names
  const wanted = only.split(',').map((name) => name.trim())
  const unknown = wanted.filter((name) => !names.includes(name) && !others.includes(name))
  if (unknown.length > 0) throw new Error(`ONLY names unknown contestants: ${unknown.join(', ')}`)
  return names.filter((name) => name === baseline || wanted.includes(name))
}

/** The most open files of a process; Node raises its limit to it. */
export function descriptors() {
  const text = spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout?.trim()
  return text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text) || 1024
}
