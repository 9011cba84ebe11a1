/// <reference lib="dom" />
import type { JSHandle, Page } from 'playwright-core'
import type { connect } from '../../../lib/client/index.ts'

/** The end of a WebSocket in a page. */
export interface PageClose {
  code: number
  reason: string
  wasClean: boolean
}

/** A WebSocket of a page, with what the page observed. */
export interface PageSocket {
  socket: WebSocket
  events: string[]
  closed: Promise<PageClose>
  /** Resolves with the next message; for binary with its length. */
  next(): Promise<string | number>
}

/** The functions of the page. */
export interface OnPage {
  /** Resolves when the socket is open, or has failed. */
  dial(url: string, protocols?: string[]): Promise<PageSocket>
  connect: typeof connect
  client: ReturnType<typeof connect>
}

/** A page with a login form, `dial`, and the client of koaws. */
export const PAGE = `<!doctype html><title>HTTP/2</title><link rel="icon" href="data:,">
<form method="post" action="/login"><input name="user" value="ann"><button>Log in</button></form>
<script>
  function dial(url, protocols = []) {
    return new Promise((resolve) => {
      const socket = new WebSocket(new URL(url, location.href.replace('http', 'ws')), protocols)
      const events = []
      const messages = []
      const waiting = []
      const next = () => new Promise((take) => {
        if (messages.length > 0) take(messages.shift())
        else waiting.push(take)
      })
      socket.binaryType = 'arraybuffer'
      socket.onmessage = ({ data }) => {
        const message = typeof data === 'string' ? data : data.byteLength
        if (waiting.length > 0) waiting.shift()(message)
        else messages.push(message)
      }
      socket.onerror = () => events.push('error')
      const closed = new Promise((ended) => {
        socket.onclose = ({ code, reason, wasClean }) => {
          events.push('close')
          resolve(dialled)
          ended({ code, reason, wasClean })
        }
      })
      const dialled = { socket, events, closed, next }
      socket.onopen = () => {
        events.push('open')
        resolve(dialled)
      }
    })
  }
</script>
<script type="module">
  import { connect } from '/koaws-client.js'
  Object.assign(window, { connect })
</script>`

/** Opens a WebSocket in a page. */
export function dial(page: Page, url: string, protocols?: string[]): Promise<JSHandle<PageSocket>> {
  return page.evaluateHandle(
    ({ url, protocols }) => (window as unknown as OnPage).dial(url, protocols),
    { url, protocols },
  )
}

/** Returns the current state of a WebSocket in a page. */
export function look(
  handle: JSHandle<PageSocket>,
): Promise<{ events: string[]; protocol: string; extensions: string }> {
  return handle.evaluate(({ events, socket: { protocol, extensions } }) => ({
    events,
    protocol,
    extensions,
  }))
}

/** Resolves with the end of a WebSocket in a page. */
export function ending(handle: JSHandle<PageSocket>): Promise<PageClose> {
  return handle.evaluate(({ closed }) => closed)
}
