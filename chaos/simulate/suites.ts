import { clusterSuite } from './cluster/cluster-suite.js'
import type { Suite } from './suite.js'
import { supervisorSuite } from './supervisor-suite.js'

/** Add a suite here. */
export const suites: readonly Suite[] = [supervisorSuite, clusterSuite]
