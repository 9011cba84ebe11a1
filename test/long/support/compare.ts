import type { AttackReport } from './attack.ts'
import { ROUTES } from './hostile-protocols.ts'
import type { HostileSite } from './hostile-site.ts'

type Counts = Readonly<Record<string, number>>

/**
 * The share of clients closed for bad messages that must receive the close code; the others are
 * still sending.
 */
const LEAST_TOLD = 0.98
/** So many more may have left in a short run, in which a share says little. */
const FEW = 8

/** A message that is too deep and has a forbidden key may count as either. */
const TRAPS = 'tooDeep or prototypeKey'

const CODE_OF: Readonly<Record<string, string>> = {
  ERR_KOAWS_MALFORMED: 'malformed',
  ERR_KOAWS_BINARY: 'binary',
  ERR_KOAWS_TOO_LARGE: 'tooLarge',
  ERR_KOAWS_TOO_DEEP: TRAPS,
  ERR_KOAWS_PROTOTYPE_KEY: TRAPS,
  ERR_KOAWS_INVALID: 'invalid',
}

/**
 * Reasons that depend on timing are left out when the server makes requests: a late answer is
 * ignored.
 */
const COMPARED = ['malformed', 'binary', 'tooLarge', 'unknownType', 'invalid', TRAPS]

/**
 * Compares the sent messages, the counts of the server and the errors that the clients received. Returns
 * one sentence per difference.
 *
 * @param drops the counts per connection, by path
 * @param status the counts of `status().drops`
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
      // Unknown types of the protocol itself get the same code, and are not counted.
      if (reason !== 'unknownType' && many !== (heard[reason] ?? 0)) {
        found.push(`${path}: ${many} ${reason} sent, ${heard[reason] ?? 0} heard of`)
      }
    }
  }
  const offenders = drops['/strict']?.['offender'] ?? 0
  const told = report.closes['/strict 4400'] ?? 0
  if (told > offenders || told < offenders * LEAST_TOLD - FEW) {
    found.push(`${offenders} were closed for bad messages, and ${told} heard of it`)
  }
  return [...found, ...totals(drops, status)]
}

/** Compares the counts per connection with those of `status()`. */
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
