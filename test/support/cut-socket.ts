import type { WebSocket } from 'ws'

/** Where the connection of a message breaks. */
export type Cut = 'never' | 'instead of sending' | 'after sending' | 'on receiving'

/** Decides about each text, before it is sent or received. */
export type Plan = (text: string, isSent: boolean) => Cut

/**
 * Returns a class of WebSockets that break as planned. The client does not notice what was
 * lost.
 *
 * @param base returns the class of the next connection
 */
export function cutting(base: () => typeof WebSocket, plan: Plan): typeof WebSocket {
  function Cutting(url: string, protocols: string[]): WebSocket {
    const Base = base()
    const socket = new Base(url, protocols)
    const send = socket.send.bind(socket) as (text: string) => void
    const end = (): void => socket.terminate()
    socket.send = (data: unknown) => {
      const cut = plan(String(data), true)
      if (cut !== 'instead of sending') send(String(data))
      if (cut !== 'never') setImmediate(end)
    }
    const hears = Object.getOwnPropertyDescriptor(
      Object.getPrototypeOf(Base.prototype),
      'onmessage',
    ) as PropertyDescriptor
    Object.defineProperty(socket, 'onmessage', {
      set(hear: ((event: { data: unknown }) => void) | null) {
        const filtered = (event: { data: unknown }): void => {
          if (plan(String(event.data), false) === 'never') hear?.(event)
          else end()
        }
        hears.set?.call(socket, hear && filtered)
      },
    })
    return socket
  }
  return Cutting as unknown as typeof WebSocket
}
