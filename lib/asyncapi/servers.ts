// Compares the servers of two documents, and the ways to authenticate.
import { entriesOf, itemsOf, member, sameJson, step } from './fields.ts'
import type { Findings } from './findings.ts'
import { jsonText } from './gaps.ts'
import { valueAt } from './located.ts'

/** A server of a document. */
interface Server {
  readonly name: string
  readonly at: string
  readonly url: string
  /** The ways to authenticate, without descriptions; empty: none is needed. */
  readonly ways: readonly unknown[]
}

/** Adds a finding for each server and way to authenticate that clients lose. Names may change. */
export function serverFindings(before: unknown, after: unknown, findings: Findings): void {
  const now = serversOf(after)
  for (const old of serversOf(before)) {
    const same = now.filter(({ url }) => url === old.url)
    const found = same.find(({ name }) => name === old.name) ?? same[0]
    if (found) {
      securityFindings(old, found, findings)
      continue
    }
    const moved = now.find(({ name }) => name === old.name)
    const message = moved
      ? `The server "${old.name}" moved from ${old.url} to ${moved.url}.`
      : `The server "${old.name}" (${old.url}) was removed.`
    findings.add(message, moved?.at ?? old.at)
  }
}

function securityFindings(old: Server, now: Server, findings: Findings): void {
  if (now.ways.length === 0) return
  const at = `${now.at}/security`
  if (old.ways.length === 0) {
    findings.add(`The server "${now.name}" now requires authentication.`, at)
    return
  }
  for (const way of old.ways) {
    if (now.ways.some((one) => sameJson(one, way))) continue
    findings.add(`The server "${now.name}" no longer accepts ${wayText(way)}.`, at)
  }
}

function wayText(way: unknown): string {
  const place = member(way, 'in')
  const name = member(way, 'name') ?? member(way, 'scheme')
  const detail = [place, name].filter((one) => typeof one === 'string').map(jsonText)
  return `the authentication ${jsonText(member(way, 'type'))}${detail.length > 0 ? ` (${detail.join(', ')})` : ''}`
}

function serversOf(root: unknown): Server[] {
  return entriesOf(member(root, 'servers')).map(([name, raw]) => {
    const found = target(root, raw) ?? raw
    const text = (field: string): string => {
      const value = member(found, field)
      return typeof value === 'string' ? value : ''
    }
    return {
      name,
      at: `/servers${step(name)}`,
      url: `${text('protocol')}://${text('host')}${text('pathname')}`,
      ways: itemsOf(member(found, 'security')).map((way) =>
        withoutDescription(target(root, way) ?? way),
      ),
    }
  })
}

function target(root: unknown, value: unknown): unknown {
  const ref = member(value, '$ref')
  return typeof ref === 'string' ? valueAt(root, ref)?.value : undefined
}

function withoutDescription(way: unknown): unknown {
  return Object.fromEntries(entriesOf(way).filter(([name]) => name !== 'description'))
}
