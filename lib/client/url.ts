/**
 * The URL to connect to: relative to the page, `ws:` for `http:`, `wss:` for `https:`.
 *
 * @throws TypeError for what is no URL, is relative where there is no page, has another scheme, or has
 * a fragment (RFC 6455, section 3) or credentials
 */
export function webSocketUrl(input: string | URL): string {
  const { location } = globalThis as { location?: { href: string } }
  try {
    const { href, username, password } = new URL(input, location?.href)
    if (/^(ws|http)s?:[^#]*$/.test(href) && !username && !password) {
      return href.replace(/^http/, 'ws')
    }
  } catch {} // told below
  throw new TypeError(
    'connect() needs a URL such as wss://example.com/chat, relative only in a page, without user or fragment.',
  )
}
