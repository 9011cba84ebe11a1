import { hubTests } from './hub-tests.ts'
import { linkTests } from './link-tests.ts'
import type { AdapterFault, AdapterTest, MakeSubject } from './subject.ts'

/**
 * Tests of the contract of `Adapter`, for any test runner:
 *
 * ```ts
 * for (const { name, run } of adapterSuite(() => ({ adapter: () => myAdapter(url) }))) it(name, run)
 * ```
 *
 * Each test lets go of what it made, and takes at most 15 seconds.
 *
 * @param without faults that this engine cannot have: their tests are left out
 */
export function adapterSuite(
  make: MakeSubject,
  without: readonly AdapterFault[] = [],
): AdapterTest[] {
  const all = [...linkTests(make), ...hubTests(make)]
  return all.filter(({ needs }) => !needs.some((fault) => without.includes(fault)))
}
