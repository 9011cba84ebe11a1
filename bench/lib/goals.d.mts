/** What a run says about one goal. */
export interface Judged {
  readonly what: string
  readonly most: number
  /** Null where a contestant was left out. */
  readonly ratio: number | null
  readonly verdict: string
}
export function judge(name: string, results: unknown): Judged[]
export function printGoals(name: string, results: unknown): void
