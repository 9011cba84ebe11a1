// Detects that the network is back, or that the page is visible again.

/** Globals of a page that Node lacks. */
interface Page {
  document?: Partial<EventTarget> & { visibilityState?: string }
  window?: Partial<EventTarget>
}

const page = globalThis as unknown as Page & Partial<EventTarget>

/** Returns whether the page is visible. Always true outside a page. */
export function isVisible(): boolean {
  return page.document?.visibilityState !== 'hidden'
}

/**
 * Calls `wake` when the network returns or the page becomes visible, and `offline` when the network
 * goes. Browsers can be wrong: treat both as hints. Returns an unsubscribe function. Does nothing
 * in Node.
 */
export function onWake(wake: () => void, offline: () => void): () => void {
  const { document, window = page } = page
  const wakeVisible = (): void => {
    if (isVisible()) wake()
  }
  const each = (method: 'addEventListener' | 'removeEventListener'): void => {
    window[method]?.('online', wake)
    window[method]?.('offline', offline)
    window[method]?.('pageshow', wake)
    document?.[method]?.('visibilitychange', wakeVisible)
  }
  each('addEventListener')
  return () => each('removeEventListener')
}
