// `adapterSuite()`: the contract of an adapter as tests.
import { historyTests, withoutHistory } from './history-tests.ts'
import { hubTests } from './hub-tests.ts'
import { linkTests } from './link-tests.ts'
import { retryTests, withoutRetries } from './retry-tests.ts'
import type { AdapterFault, AdapterTest, MakeSubject } from './subject.ts'

/**
 * Returns tests of the contract of `Adapter`, of its history and of its record of requests, for any test runner: `for (const { name, run } of
 * adapterSuite(make)) it(name, run)`. Each test releases what it created, and takes at most 15
 * seconds.
 *
 * @example
 * ```js
 * import { memoryAdapter } from 'koaws'
 * import { adapterSuite } from 'koaws/testing'
 *
 * const make = () => {
 *   const adapter = memoryAdapter() // put your adapter here
 *   return { adapter: () => adapter }
 * }
 * const [first] = adapterSuite(make, ['cut', 'inject'])
 * await first?.run()
 * console.log('the first test passes') // the first test passes
 * ```
 *
 * @param make creates the engine under test, anew for each test
 * @param without faults that this engine cannot have, and `history` or `retries` for an adapter without it: tests
 * that need them are left out
 */
export function adapterSuite(
  make: MakeSubject,
  without: readonly AdapterFault[] = [],
): AdapterTest[] {
  const all = [...linkTests(make), ...hubTests(make), ...historyTests(make), ...retryTests(make)]
  if (without.includes('history')) all.push(withoutHistory(make))
  if (without.includes('retries')) all.push(withoutRetries(make))
  return all.filter(({ needs }) => !needs.some((fault) => without.includes(fault)))
}
