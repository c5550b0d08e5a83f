package harness;

import java.util.List;
import org.opensearch.Version;
import org.opensearch.env.Environment;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;
import org.opensearch.plugins.PluginInfo;

/** A node with plugins from the class path, as 3.x constructs it. */
final class PluginNode extends Node {
    PluginNode(Environment environment, List<Class<? extends Plugin>> plugins) {
        super(environment, plugins.stream().map(PluginNode::info).toList(), true);
    }

    private static PluginInfo info(Class<? extends Plugin> plugin) {
        String name = plugin.getName();
        return new PluginInfo(name, "class path plugin", "NA", Version.CURRENT, "21", name, null, List.of(), false);
    }
}
