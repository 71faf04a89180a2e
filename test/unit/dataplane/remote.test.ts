import { dataplaneCompliance } from '../../compliance/dataplane.ts';
import { openInForwarder } from '../../support/forwarder.ts';

dataplaneCompliance('a forwarder process', openInForwarder);
