package harness;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;

/**
 * One OpenSearch node. Arguments: the plugins' classes joined by commas, the configuration folder, then settings as key=value.
 * Prints READY when it serves; ends by SIGTERM, or when standard input closes.
 */
public final class OpenSearchMain {
    public static void main(String[] arguments) throws Exception {
        List<Class<? extends Plugin>> plugins = new ArrayList<>();
        for (String name : arguments[0].split(",")) plugins.add(Class.forName(name).asSubclass(Plugin.class));
        Path configuration = Path.of(arguments[1]);
        Settings.Builder builder = Settings.builder();
        for (int i = 2; i < arguments.length; i++) {
            int equals = arguments[i].indexOf('=');
            builder.put(arguments[i].substring(0, equals), arguments[i].substring(equals + 1));
        }
        Settings settings = builder.build();
        LogConfigurator.configureWithoutConfig(settings);
        Node node = new PluginNode(
            InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), configuration, () -> "harness"), plugins
        );
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
                node.awaitClose(20, TimeUnit.SECONDS);
            } catch (IOException | InterruptedException e) {
                e.printStackTrace();
            }
        }));
        node.start();
        System.out.println("READY " + ProcessHandle.current().pid());
        while (System.in.read() >= 0) { }
        System.exit(0);
    }
}
