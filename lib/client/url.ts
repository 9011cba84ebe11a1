// The URL that a client connects to.

interface Host {
  readonly location?: { readonly href: string }
  /** The `URL` of React Native up to 0.79 throws on `username`, and lacks `canParse`. */
  readonly URL?: Partial<typeof URL>
}

/**
 * Returns the URL to connect to: resolved against the page, with `ws:` for `http:` and `wss:` for
 * `https:`.
 *
 * @throws TypeError for an invalid URL, a relative URL outside a page, another scheme, a fragment
 * (RFC 6455, section 3) or credentials
 */
export function webSocketUrl(input: string | URL): string {
  const { location, URL: RuntimeURL } = globalThis as Host
  let href = ''
  try {
    href = `${input}`
    const { href: whole, username, password } = new URL(input, location?.href)
    href = username || password ? '' : whole
  } catch {
    if (RuntimeURL?.canParse) href = ''
  }
  if (/^(ws|http)s?:\/\/[^\s/?#@\\]+([/?][^\s#]*)?$/.test(href)) return href.replace(/^http/, 'ws')
  throw new TypeError(
    'connect() needs a URL such as wss://example.com/chat, without user or fragment.',
  )
}
