import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { expect } from 'chai'
import { blockOf } from './support/guide.ts'

/** js-yaml is a dependency of mocha. */
const { loadAll } = createRequire(import.meta.url)('js-yaml') as {
  loadAll(text: string): Record<string, unknown>[]
}

describe('Kubernetes with the objects of its guide', () => {
  const page = readFileSync(new URL('../../docs/guides/kubernetes.md', import.meta.url), 'utf8')
  const objects = loadAll(blockOf('guides/kubernetes.md', 'deployment.yaml'))
  const [ingress] = loadAll(blockOf('guides/kubernetes.md', 'ingress.yaml'))

  function kind(name: string): { spec: Record<string, unknown> } {
    const found = objects.find((object) => object['kind'] === name)
    if (!found) throw new Error(`no ${name}`)
    return found as { spec: Record<string, unknown> }
  }

  it('gives a pod more time than the app takes to close, and the app a readyDelay above the probe', () => {
    const [, readyDelay, timeout] =
      /closeOnSignal\(\{ readyDelay: ([\d_]+), timeout: ([\d_]+) \}\)/.exec(page) ?? []
    const ms = (text?: string): number => Number(text?.replaceAll('_', ''))
    const pod = (kind('Deployment').spec['template'] as { spec: unknown }).spec as {
      terminationGracePeriodSeconds: number
      containers: { readinessProbe: { periodSeconds: number; failureThreshold: number } }[]
    }
    const grace = pod.terminationGracePeriodSeconds * 1_000
    expect(grace).to.be.above(ms(readyDelay) + ms(timeout))
    const probe = pod.containers[0]?.readinessProbe
    const noticed = (probe?.periodSeconds ?? 0) * (probe?.failureThreshold ?? 0) * 1_000
    expect(ms(readyDelay)).to.be.above(noticed)
  })

  it('uses the same pod labels in all objects', () => {
    const labels = { app: 'live' }
    const { selector, template } = kind('Deployment').spec as Record<
      string,
      Record<string, unknown>
    >
    expect(selector).to.deep.equal({ matchLabels: labels })
    expect(template?.['metadata']).to.deep.equal({ labels })
    expect(kind('Service').spec['selector']).to.deep.equal(labels)
    expect(kind('PodDisruptionBudget').spec['selector']).to.deep.equal({ matchLabels: labels })
    expect(kind('HorizontalPodAutoscaler').spec['scaleTargetRef']).to.include({ name: 'live' })
    expect(JSON.stringify(ingress)).to.include('"service":{"name":"live","port":{"name":"http"}}')
  })
})
