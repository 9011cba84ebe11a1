/** What a page has that Node has not. */
interface Page {
  document?: Partial<EventTarget> & { visibilityState?: string }
  window?: Partial<EventTarget>
}

const page = globalThis as unknown as Page & Partial<EventTarget>

/** Whether somebody may be looking: not while a page is hidden, always where there is no page. */
export function isVisible(): boolean {
  return page.document?.visibilityState !== 'hidden'
}

/**
 * Call `wake` when the network comes back, or when somebody looks at the page again. Returns what
 * ends that. Does nothing in Node.
 */
export function onWake(wake: () => void): () => void {
  const { document, window = page } = page
  const wakeVisible = (): void => {
    if (isVisible()) wake()
  }
  const each = (method: 'addEventListener' | 'removeEventListener'): void => {
    window[method]?.('online', wake)
    window[method]?.('pageshow', wake)
    document?.[method]?.('visibilitychange', wakeVisible)
  }
  each('addEventListener')
  return () => each('removeEventListener')
}
