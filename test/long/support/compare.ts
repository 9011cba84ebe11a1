import type { AttackReport } from './attack.ts'
import { ROUTES } from './hostile-protocols.ts'
import type { HostileSite } from './hostile-site.ts'

type Counts = Readonly<Record<string, number>>

/** Of those who are closed for bad messages, so many hear of it: others are still sending too much. */
const LEAST_TOLD = 0.98

/** What a deep message that also has a bad name is counted as, is left to the server. */
const TRAPS = 'tooDeep or prototypeKey'

const CODE_OF: Readonly<Record<string, string>> = {
  ERR_KOAWS_MALFORMED: 'malformed',
  ERR_KOAWS_BINARY: 'binary',
  ERR_KOAWS_TOO_LARGE: 'tooLarge',
  ERR_KOAWS_TOO_DEEP: TRAPS,
  ERR_KOAWS_PROTOTYPE_KEY: TRAPS,
  ERR_KOAWS_INVALID: 'invalid',
}

/** Reasons that depend on time where the server asks: an answer that comes too late is ignored. */
const COMPARED = ['malformed', 'binary', 'tooLarge', 'unknownType', 'invalid', TRAPS]

/**
 * Where what was sent, what the server has counted, and what the clients have heard of differ: one
 * sentence each.
 *
 * @param drops what was counted for connections, by path
 * @param status what `status().drops` says
 */
export function differences(
  report: AttackReport,
  drops: HostileSite['drops'],
  status: Counts,
): string[] {
  const found: string[] = []
  for (const { path, exact, asks } of ROUTES) {
    if (!exact) continue
    const sent = byReason(report.counted[path] ?? {})
    const counted = byReason(drops[path] ?? {})
    const heard = byReason(renamed(report.codes[path] ?? {}))
    for (const reason of COMPARED) {
      if (asks && reason === 'invalid') continue
      const many = sent[reason] ?? 0
      if (many !== (counted[reason] ?? 0)) {
        found.push(`${path}: ${many} ${reason} sent, ${counted[reason] ?? 0} counted`)
      }
      // Messages of the protocol that it does not know get the same code, and count for nothing.
      if (reason !== 'unknownType' && many !== (heard[reason] ?? 0)) {
        found.push(`${path}: ${many} ${reason} sent, ${heard[reason] ?? 0} heard of`)
      }
    }
  }
  const offenders = drops['/strict']?.['offender'] ?? 0
  const told = report.closes['/strict 4400'] ?? 0
  if (told > offenders || told < offenders * LEAST_TOLD) {
    found.push(`${offenders} were closed for bad messages, and ${told} heard of it`)
  }
  return [...found, ...totals(drops, status)]
}

/** What is counted for connections, and what `status()` says. */
function totals(drops: HostileSite['drops'], status: Counts): string[] {
  const sums: Record<string, number> = {}
  for (const counts of Object.values(drops)) {
    for (const [reason, many] of Object.entries(counts)) sums[reason] = (sums[reason] ?? 0) + many
  }
  return [...new Set([...Object.keys(status), ...Object.keys(sums)])]
    .filter((reason) => (sums[reason] ?? 0) !== (status[reason] ?? 0))
    .map((reason) => {
      const told = sums[reason] ?? 0
      return `status() says ${status[reason] ?? 0} ${reason}, and ${told} were told of`
    })
}

function byReason(counts: Counts): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const [name, many] of Object.entries(counts)) {
    const reason = /tooDeep|prototypeKey/.test(name) ? TRAPS : name
    sums[reason] = (sums[reason] ?? 0) + many
  }
  return sums
}

function renamed(codes: Counts): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const [code, many] of Object.entries(codes)) {
    const reason = CODE_OF[code] ?? code
    counts[reason] = (counts[reason] ?? 0) + many
  }
  return counts
}
