// The address under which `maxPerAddress` counts a client.
import { isIP, isIPv4, isIPv6 } from 'node:net'
import type { Context } from 'koa'

/**
 * Returns the key that `maxPerAddress` counts an address under. An IPv6 address counts as its
 * network of `ipv6Prefix` bits: a client has a whole /64, and may use any address in it (RFC 4291,
 * section 2.5.4). An IPv4-mapped address counts as IPv4 (RFC 4291, section 2.5.5.2). A port or
 * brackets added by a proxy are removed; other values stay unchanged.
 */
export function networkOf(address: string, ipv6Prefix: number): string {
  const bare = withoutPort(address)
  if (isIPv4(bare) || !isIPv6(bare)) return bare
  const groups = groupsOf(bare.replace(/%.*$/, ''))
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const [high, low] = groups.slice(6) as [number, number]
    return [high >> 8, high & 255, low >> 8, low & 255].join('.')
  }
  if (ipv6Prefix >= 128) return groups.map((group) => group.toString(16)).join(':')
  const network = groups.map((group, i) => {
    const bits = Math.min(16, Math.max(0, ipv6Prefix - i * 16))
    return (group & (0xffff << (16 - bits))).toString(16)
  })
  return `${network.join(':')}/${ipv6Prefix}`
}

/** Removes a port and brackets, which some proxies write into `X-Forwarded-For`. */
function withoutPort(address: string): string {
  const bare = /^\[(.+)\](?::\d+)?$/.exec(address)?.[1] ?? /^([\d.]+):\d+$/.exec(address)?.[1]
  return bare !== undefined && isIP(bare) ? bare : address
}

/** Returns the eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const hex = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...bytes) => {
    const [a, b, c, d] = bytes.map(Number) as [number, number, number, number]
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  })
  const [head = '', tail] = hex.split('::')
  const read = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((one) => Number.parseInt(one, 16))
  const [before, after] = [read(head), tail === undefined ? [] : read(tail)]
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length
  return [...before, ...new Array<number>(zeros).fill(0), ...after]
}

/** Returns the address in the forwarded header, as `ctx.ip` does, for a trusted proxy. */
export function clientAddress(req: Context['req'], app: Context['app'] | null): string | undefined {
  if (!app?.proxy) return undefined
  const { proxyIpHeader = 'X-Forwarded-For', maxIpsCount = 0 } = app as {
    proxyIpHeader?: string
    maxIpsCount?: number
  }
  const header = req.headers[proxyIpHeader.toLowerCase()]
  if (typeof header !== 'string') return undefined
  const addresses = header.split(',').map((address) => address.trim())
  return (maxIpsCount > 0 ? addresses.slice(-maxIpsCount) : addresses)[0] || undefined
}
