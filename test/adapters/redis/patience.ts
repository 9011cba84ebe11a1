/** Waits for a condition for as long as a busy machine may need. */
export async function slowly(
  condition: () => boolean,
  seen: (() => unknown) | string = '',
): Promise<void> {
  const deadline = Date.now() + 60_000
  while (!condition()) {
    if (Date.now() > deadline) {
      const what = typeof seen === 'string' ? seen : JSON.stringify(seen())
      throw new Error(`it did not come about: ${what}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
